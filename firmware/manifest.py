# What a board's firmware freezes: make -C ports/stm32 BOARD=NUCLEO_H563ZI FROZEN_MANIFEST=<this file>. Frozen code runs
# from flash and takes no heap. A slot's own files come first: a board whose file says FROZEN has none of these in its
# slot. Nothing of micropython-lib.
include("$(PORT_DIR)/boards/manifest.py")  # noqa: F821
package("cellwarden", opt=3)  # noqa: F821
module("main.py", opt=3)  # noqa: F821
