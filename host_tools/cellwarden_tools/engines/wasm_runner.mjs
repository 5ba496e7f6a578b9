// Runs runner.py in the WebAssembly port of MicroPython, its stream being this process's standard input.
//
//     node wasm_runner.mjs NPM_PACKAGE FOLDER HEAP_BYTES [--lock]
//
// FOLDER holds runner.py, the package cellwarden and image/, as device_files.py writes them.

import fs from "node:fs";
import path from "node:path";
import { pathToFileURL } from "node:url";

const [npmPackage, folder, heapBytes, lock] = process.argv.slice(2);

function copy(FS, from, to) {
    FS.mkdir(to);
    for (const entry of fs.readdirSync(from, { withFileTypes: true })) {
        const [source, target] = [path.join(from, entry.name), to + "/" + entry.name];
        if (entry.isDirectory()) {
            copy(FS, source, target);
        } else {
            FS.writeFile(target, fs.readFileSync(source));
        }
    }
}

async function main() {
    const { loadMicroPython } = await import(pathToFileURL(path.join(npmPackage, "micropython.mjs")));
    const mp = await loadMicroPython({
        heapsize: Number(heapBytes),
        stdout: (line) => fs.writeSync(1, line + "\n"),
    });
    copy(mp.FS, folder, "/device");
    const device = mp.FS.makedev(64, 0);
    mp.FS.registerDevice(device, {
        open: (stream) => { stream.seekable = false; },
        read: (_, buffer, offset, length) => fs.readSync(0, buffer, offset, length, null),
    });
    mp.FS.mkdev("/stream", device);
    mp.runPython(`
import sys
sys.path.append("/device")
import runner
runner.run("/device/image", open("/stream", "rb"), ${lock ? "True" : "False"})
`);
}

main().catch((error) => {
    fs.writeSync(2, String(error.message || error) + "\n");
    process.exitCode = 1;
});
