"""A Linux gateway without hardware: a virtual machine with two CAN controllers on one wire and the kernel's own driver.

    python -m cellwarden_tools.hil.gateway COMMAND [WORD ...]

runs a command there as can0 and can1 are up, with this machine's files (what it writes is gone afterwards), and ends
with its status. QEMU emulates Kvaser PCI cards with SJA1000 controllers. The kernel is Debian's; the first start
fetches it and busybox with apt-get into build/gateway, or the folder that $CELLWARDEN_GATEWAY names. `--fetch` in the
place of a command does that alone, and says what is missing.

Its clock counts instructions (QEMU's -icount), 500 million a second, so what is computed there takes as long on a busy
machine as on one that rests; only where it waits does its time go as ours.
"""

import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from ..errors import InputError

FOLDER = Path("build", "gateway")
MODULES = ("virtio_pci", "9pnet_virtio", "9p", "overlay", "can", "can_raw", "kvaser_pci")
BITRATE = 500_000
MEMORY_MB = 1500
MACHINE = "CELLWARDEN_GATEWAY_MACHINE"  # is in the environment of what runs in the machine
STATUS = "cellwarden-gateway: status "
_NAME = "gateway"
INIT = """#!/bin/busybox sh
B=/bin/busybox
$B mount -t proc proc /proc; $B mount -t sysfs sysfs /sys; $B mount -t devtmpfs dev /dev
for module in {modules}; do $B insmod /modules/$module.ko; done
$B mount -t 9p -o trans=virtio,version=9p2000.L,ro,msize=262144,cache=loose host /host
$B mount -t tmpfs tmpfs /upper; $B mkdir /upper/data /upper/work
$B mount -t overlay -o lowerdir=/host,upperdir=/upper/data,workdir=/upper/work overlay /root
for folder in proc sys dev; do $B mount --bind /$folder /root/$folder; done
$B mkdir -p /root/dev/pts /root/dev/shm; $B mount -t devpts devpts /root/dev/pts; $B mount -t tmpfs tmpfs /root/dev/shm
$B mount -t tmpfs tmpfs /root/run
$B cp /script /root/run/script
$B chroot /root /bin/sh /run/script
echo "{status}$?"
$B poweroff -f
"""
SCRIPT = """export PATH={path}
ip link set can0 up txqueuelen 1000 type can bitrate {bitrate} || exit 90
ip link set can1 up txqueuelen 1000 type can bitrate {bitrate} restart-ms 100 || exit 91
export {machine}=1
cd {folder}
{command}
"""


def find_qemu():
    """Raises InputError where there is none, or what else is needed is missing."""
    for tool, package in (("qemu-system-x86_64", "qemu-system-x86"), ("ip", "iproute2"), ("dpkg-deb", "dpkg")):
        if not shutil.which(tool):
            raise InputError(_NAME, f"no {tool} on this machine", tool, f"apt-get install {package}")
    return shutil.which("qemu-system-x86_64")


def fetch(folder):
    """(kernel, folder of its modules, busybox), downloaded where they are not there. Raises InputError."""
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / "bin" / "busybox").exists() or not list(folder.glob("boot/vmlinuz-*")):
        for package in (_kernel_package(), "busybox-static"):
            _run(["apt-get", "download", "-q", package], folder)
        for package in sorted(folder.glob("*.deb")):
            _run(["dpkg-deb", "-x", package.name, "."], folder)
            package.unlink()
    kernel = sorted(folder.glob("boot/vmlinuz-*"))[-1]
    return kernel, next(folder.glob("lib/modules/*")), folder / "bin" / "busybox"


def _kernel_package():
    """The package that Debian's linux-image-amd64 stands for."""
    told = _run(["apt-cache", "depends", "linux-image-amd64"], None)
    found = re.search(r"Depends: (linux-image-\S+)", told)
    if not found:
        raise InputError(_NAME, "apt knows no linux-image-amd64", "Debian's package lists", "apt-get update")
    return found[1]


def _run(command, folder):
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    except OSError as error:
        raise InputError(_NAME, f"{command[0]} cannot be run ({error.strerror})", "a Debian system") from None
    if done.returncode:
        words = (done.stderr or done.stdout).strip().splitlines()
        raise InputError(_NAME, f"{' '.join(map(str, command))} failed ({words[-1] if words else done.returncode})")
    return done.stdout


def in_order(modules):
    """The modules' files that MODULES need, each after those it depends on."""
    files = {path.name.removesuffix(".ko").replace("-", "_"): path for path in modules.rglob("*.ko")}
    order = []

    def add(name):
        if name in order or name not in files:  # what has no file is part of the kernel
            return
        found = re.search(rb"\0depends=([^\0]*)\0", files[name].read_bytes())
        for other in found[1].decode().split(",") if found and found[1] else ():
            add(other.replace("-", "_"))
        order.append(name)

    for name in MODULES:
        add(name)
    return [files[name] for name in order]


def archive(entries):
    """A cpio archive, "newc", as the kernel unpacks it; entries: (name, mode, bytes)."""
    packed = b""
    for number, (name, mode, data) in enumerate([*entries, ("TRAILER!!!", 0, b"")], 1):
        text = name.encode() + b"\0"
        fields = (number, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(text), 0)
        head = b"070701" + b"".join(b"%08x" % field for field in fields) + text
        packed += head + bytes(-len(head) % 4) + data + bytes(-len(data) % 4)
    return packed


def initial_disk(modules, busybox, command):
    files = {path.stem.replace("-", "_"): path for path in in_order(modules)}
    init = INIT.format(modules=" ".join(files), status=STATUS)
    script = SCRIPT.format(
        path=os.environ["PATH"], bitrate=BITRATE, machine=MACHINE, folder=shlex.quote(os.getcwd()),
        command=shlex.join(command),
    )  # fmt: skip
    folders = ("bin", "modules", "proc", "sys", "dev", "host", "upper", "root")
    return archive(
        [(name, 0o040755, b"") for name in folders]
        + [(f"modules/{name}.ko", 0o100644, path.read_bytes()) for name, path in files.items()]
        + [
            ("bin/busybox", 0o100755, busybox.read_bytes()),
            ("init", 0o100755, init.encode()),
            ("script", 0o100644, script.encode()),
        ]
    )  # fmt: skip


def the_folder():
    return Path(os.environ.get("CELLWARDEN_GATEWAY") or FOLDER).resolve()


def run(command):
    """Run a command in the machine; its output comes as it is made. Returns its status. Raises InputError."""
    qemu, folder = find_qemu(), the_folder()
    kernel, modules, busybox = fetch(folder)
    with tempfile.NamedTemporaryFile(dir=folder) as disk:
        disk.write(initial_disk(modules, busybox, command))
        disk.flush()
        return _machine(qemu, kernel, disk.name)


def _machine(qemu, kernel, disk):
    words = [
        qemu, "-accel", "tcg", "-icount", "shift=1", "-cpu", "max", "-m", str(MEMORY_MB),
        "-nographic", "-no-reboot", "-net", "none", "-kernel", str(kernel), "-initrd", disk,
        "-append", "console=ttyS0 quiet panic=-1",
        "-virtfs", "local,path=/,mount_tag=host,security_model=none,readonly=on,multidevs=remap",
        "-object", "can-bus,id=wire", "-device", "kvaser_pci,canbus=wire", "-device", "kvaser_pci,canbus=wire",
    ]  # fmt: skip
    status = None
    with subprocess.Popen(
        words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, errors="replace"
    ) as machine:
        for line in machine.stdout:
            if line.startswith(STATUS):
                status = int(line[len(STATUS) :])
            else:
                sys.stdout.write(line)
                sys.stdout.flush()
    if status is None:
        raise InputError(_NAME, "the machine stopped before the command did", "a kernel that starts in it")
    return status


def main():
    if len(sys.argv) < 2:
        print("usage: python -m cellwarden_tools.hil.gateway --fetch | COMMAND [WORD ...]", file=sys.stderr)
        return 2
    try:
        if sys.argv[1:] == ["--fetch"]:
            find_qemu()
            fetch(the_folder())
            return 0
        return run(sys.argv[1:])
    except InputError as error:
        print(error, file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
