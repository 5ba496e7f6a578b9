"""Mutation testing of the detection core: every small fault that can be made in it must fail a test.

    python tests/mutate/mutate.py [--only FILE[:LINE[-LINE]]] [--json] [-n N]

prints the mutants that no test noticed and their number. Exit status 0: none survived; 1: some did; 2: bad use, or the
tests fail on the core as it is.

How it keeps to minutes: the tests run in one process, which is started once. A first run notes which test executes
which line and which reads a source file. For each mutant that process forks, swaps the code of the one function that
differs (or the one constant), and runs the tests that can notice, those first that caught a fault in the neighbourhood,
then the quickest; the first failure ends it. Faults in the tables, from which images and expectations are made when
modules are imported, get a process that imports everything anew. The faulty text also lies in that process's own copy
of the package, so that tests that read the source see it too. A mutant that uses five times the processor time
its test takes, and a second, hangs, and has been noticed.
"""

import argparse
import compileall
import json
import multiprocessing
import os
import py_compile
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import types
from collections import Counter, defaultdict, deque
from multiprocessing.connection import wait
from pathlib import Path

import mutants
import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "firmware" / "cellwarden" / "core"
TESTS = (ROOT / "tests" / "core",)

# Nothing is told in words where only the first failure counts; a traceback or the text of an assert takes longer than
# most tests.
PYTEST = ("-q", "-p", "no:cacheprovider", "--assert=plain", "--capture=sys", "-o", "timeout=0")
TABLE_SECONDS = 900  # of processor time for all tests, where a fault in a table sends them round in circles
MEMORY_BYTES = 4 << 30  # a shift by a wrong number can ask for any amount
KILLED, SURVIVED, HUNG = "killed", "survived", "hung"


class Failed(Exception):
    """One line for people: what went wrong and how to mend it."""


def budget(seconds):
    """Let the process die when it has used so much processor time."""
    signal.setitimer(signal.ITIMER_PROF, seconds)


class Ears:
    """A pytest plugin: its tests do not shrink what they find, and a failure is told at once.

    heard(node id): called at the first failure of a test
    """

    def __init__(self, heard=None):
        self.heard = heard

    @pytest.hookimpl(tryfirst=True)
    def pytest_configure(self):
        try:
            from hypothesis import Phase, settings
        except ImportError:
            return
        settings.register_profile("mutate", settings(), phases=(Phase.explicit, Phase.generate), database=None)
        settings.load_profile("mutate")

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_makereport(self, item, call):
        if call.excinfo is not None and not call.excinfo.errisinstance(pytest.skip.Exception) and self.heard:
            self.heard(item.nodeid)

    @pytest.hookimpl(tryfirst=True)
    def pytest_collectreport(self, report):
        if report.failed and self.heard:
            self.heard(report.nodeid)


def forked(work, pipe_bytes=4096):
    """Run work(tell) in a fork and wait for it. Returns (what it told, its exit status, negative for a signal)."""
    here, there = os.pipe()
    pid = os.fork()
    if pid == 0:
        status = 3
        try:
            os.close(here)
            resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))

            def tell(text):
                os.write(there, text.encode()[:pipe_bytes])
                os._exit(1)

            status = work(tell)
        finally:
            os._exit(status)
    os.close(there)
    with open(here, "rb") as pipe:
        told = pipe.read().decode()
    return told, os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


class Copy:
    """A private copy of the sources. Python never takes a stale compiled file for a faulty text: each has a time of
    its own."""

    def __init__(self, folder, source, package):
        self.root = Path(folder) / source.name
        shutil.copytree(source, self.root, ignore=shutil.ignore_patterns("__pycache__"))
        self.package = self.root / package
        self.texts = {path.name: path.read_bytes() for path in self.package.glob("*.py")}
        self.times = 0
        for name in self.texts:
            self.put(name, self.texts[name])
        compileall.compile_dir(self.root, quiet=2, invalidation_mode=py_compile.PycInvalidationMode.TIMESTAMP)

    def put(self, name, text):
        path = self.package / name
        path.write_bytes(text)
        self.times += 1
        os.utime(path, (self.times, self.times))

    def faulty(self, mutant):
        self.put(mutant.file, mutant.applied(self.texts[mutant.file]))

    def mend(self, mutant):
        self.put(mutant.file, self.texts[mutant.file])


# --- faults in functions and constants: one process, one import ------------------------------------------------------


class Session:
    """A pytest session that stays: it measures the tests, then tries mutants, each in a fork."""

    def __init__(self, talk, copy, tests, package):
        self.talk, self.copy, self.tests, self.package = talk, copy, tests, package
        self.opened = None
        self.ears = Ears()

    def run(self):
        sys.path.insert(0, str(self.copy.root))
        sys.addaudithook(self.audit)
        code = pytest.main([*PYTEST, *self.tests], plugins=[self, self.ears])
        if code:
            self.talk.send(("broken", f"pytest ended with {code!r}"))

    def audit(self, event, args):
        if event == "open" and self.opened is not None and isinstance(args[0], str | os.PathLike):
            path = Path(os.fspath(args[0]))
            if path.suffix == ".py" and path.parent == self.copy.package:
                self.opened.add(path.name)

    def pytest_runtestloop(self, session):
        self.session = session
        self.talk.send(("tests", [(item.nodeid, str(item.path)) for item in session.items]))
        while (job := self.talk.recv()) is not None:
            kind, *rest = job
            self.talk.send((kind, getattr(self, kind)(*rest)))
        return True

    def test(self, number):
        # With the session as what comes next everything is torn down but what lives as long as it does.
        self.session.config.hook.pytest_runtest_protocol(item=self.session.items[number], nextitem=self.session)

    def baseline(self, numbers):
        """{number: (seconds of processor time, {file: lines}, files read as text)}."""
        self.ears.heard = lambda nodeid: self.talk.send(("broken", f"{nodeid} fails without any fault"))
        marks, heads, plain = {}, {}, []
        for file, text in self.copy.texts.items():
            if mutants.is_hot(text):
                module = self.module(file)
                marks[file] = vars(module)["_MARK"] = bytearray(text.count(b"\n") + 2)
                code, heads[file] = mutants.probed(text, file, "_MARK")
                plain += self.exchange(module, code)
        told = {}
        for number in numbers:
            self.opened = set()
            start = time.process_time()
            self.test(number)
            seconds = time.process_time() - start
            lines = {file: {at for at, head in heads[file].items() if mark[head]} for file, mark in marks.items()}
            told[number] = seconds, lines, self.opened
            for mark in marks.values():
                mark[:] = bytes(len(mark))
        self.opened = None
        for function, code in plain:
            function.__code__ = code
        return told

    def module(self, file):
        return sys.modules[".".join((*self.package.split("/"), file.removesuffix(".py")))]

    def exchange(self, module, code, names=None):
        """Give a module's functions the code that this makes. Returns [(function, the code it had)]."""
        space, had = dict(vars(module)), []
        exec(code, space)
        for name, function in vars(module).items():
            if isinstance(function, types.FunctionType) and function.__module__ == module.__name__:
                if names is None or name in names:
                    had.append((function, function.__code__))
                    function.__code__ = space[name].__code__
        return had

    def mutant(self, mutant, order):
        """(killed, survived or hung; by which test). order: [(number of a test, seconds it may use)]."""
        self.copy.faulty(mutant)

        def work(tell):
            self.ears.heard = tell
            try:
                self.swap(mutant)
            except Exception as error:
                tell(f"import: {error}")
            for number, seconds in order:
                budget(seconds)
                self.test(number)
            return 0

        told, status = forked(work)
        self.copy.mend(mutant)
        return told, status

    def swap(self, mutant):
        """Make the imported package as faulty as the text."""
        module = self.module(mutant.file)
        if mutant.name:
            setattr(module, mutant.name, mutant.value)
        else:
            code = mutant.function(self.copy.texts[mutant.file], str(self.copy.package / mutant.file))
            self.exchange(module, code, {mutant.inside})


# --- faults in tables: everything is imported anew --------------------------------------------------------------------


class Fresh:
    """A process that has imported no more than what others wrote; a mutant's fork imports the rest."""

    def __init__(self, talk, copy, preload):
        self.talk, self.copy, self.preload = talk, copy, preload

    def run(self):
        sys.path.insert(0, str(self.copy.root))
        for name in self.preload:
            try:
                __import__(name)
            except Exception:  # an optional part of another's package
                continue
        while (job := self.talk.recv()) is not None:
            self.talk.send(("mutant", self.mutant(*job)))

    def mutant(self, mutant, stages, seconds):
        """As Session.mutant. stages: lists of test files, tried one after the other."""
        self.copy.faulty(mutant)
        for files in stages:
            told, status = forked(lambda tell, files=files: self.work(tell, files, seconds))
            if told or status:
                break
        self.copy.mend(mutant)
        return told, status

    def work(self, tell, files, seconds):
        budget(seconds)
        code = pytest.main([*PYTEST, *files], plugins=[Ears(tell)])
        return tell(f"pytest ended with {code!r}") if code else 0


# --- the campaign -----------------------------------------------------------------------------------------------------


class Slot:
    """One mutant at a time: a copy of the sources, a Session and a Fresh process that share it."""

    def __init__(self, folder, source, package, tests):
        self.copy = Copy(folder, source, package)
        self.errors = Path(folder) / "stderr"
        self.processes, self.jobs = [], {}
        self.fresh = None
        self.session = self.start(lambda talk: Session(talk, self.copy, tests, package).run())

    def start(self, run):
        here, there = multiprocessing.Pipe()

        def work():
            here.close()
            with open(self.errors, "ab", buffering=0) as errors:
                os.dup2(os.open(os.devnull, os.O_RDWR), 0)
                os.dup2(errors.fileno(), 1)
                os.dup2(errors.fileno(), 2)
            run(there)

        process = multiprocessing.get_context("fork").Process(target=work)
        process.start()
        self.processes.append(process)
        there.close()
        return here

    def receive(self, talk):
        try:
            kind, told = talk.recv()
        except EOFError:
            kind, told = "broken", "a test process ended: " + self.errors.read_text("utf-8", "replace")[-2000:]
        if kind == "broken":
            raise Failed(told)
        return told

    def stop(self):
        for process in self.processes:
            process.terminate()
            process.join()


class Campaign:
    """Tries every mutant of a package's files on tests.

    package: its folder; tests: folders or files; jobs: processes, None for one a core of this machine
    """

    def __init__(self, package=PACKAGE, tests=TESTS, jobs=None):
        self.source = package = Path(package).resolve()
        while (self.source / "__init__.py").exists():
            self.source = self.source.parent
        self.package, self.tests = package.relative_to(self.source).as_posix(), [str(path) for path in tests]
        self.jobs = jobs or os.cpu_count() or 1
        self.texts = {path.name: path.read_bytes() for path in sorted((self.source / package).glob("*.py"))}
        self.mutants = [mutant for name, text in self.texts.items() for mutant in mutants.mutants(name, text)]
        self.hot = {name for name, text in self.texts.items() if mutants.is_hot(text)}
        self.killers = defaultdict(lambda: deque(maxlen=8))
        self.caught = Counter()  # faults by each test

    def only(self, told):
        """Keep the mutants of a file, or of its lines. told: FILE, FILE:LINE or FILE:FIRST-LAST."""
        file, _, lines = told.partition(":")
        file, (first, _, last) = Path(file).name, lines.partition("-")
        if file not in self.texts:
            raise Failed(f"{file}: no such file in {self.package}: it has {', '.join(self.texts)}")
        if not all(part.isdecimal() for part in (first, last) if part) or (lines and not first):
            raise Failed(f"--only {told}: expected FILE, FILE:LINE or FILE:FIRST-LAST")
        asked = range(int(first), int(last or first) + 1) if lines else None
        self.mutants = [m for m in self.mutants if m.file == file and (asked is None or self.line(m) in asked)]
        if not self.mutants:
            raise Failed(f"--only {told}: nothing to change there")

    def line(self, mutant):
        """The line that the fault stands in, from 1."""
        return self.texts[mutant.file].count(b"\n", 0, mutant.start) + 1

    def run(self):
        """Yields (mutant, KILLED, SURVIVED or HUNG, the test that noticed or None), in no order."""
        with tempfile.TemporaryDirectory(prefix="mutate-") as folder:
            sys.pycache_prefix = str(Path(folder) / "compiled")
            slots = []
            try:
                for i in range(max(1, min(self.jobs, len(self.mutants)))):
                    own = Path(folder) / str(i)
                    own.mkdir()
                    slots.append(Slot(own, self.source, self.package, self.tests))
                self.measure(slots)
                yield from self.tried(slots)
            finally:
                for slot in slots:
                    slot.stop()

    def measure(self, slots):
        """A first run without a fault, shared out."""
        tests = [slot.receive(slot.session) for slot in slots]
        self.names = [name for name, _ in tests[0]]
        self.paths = [path for _, path in tests[0]]
        if any(other != tests[0] for other in tests):
            raise Failed("the tests are not the same each time they are collected")
        if not any(mutant.file in self.hot for mutant in self.mutants):
            self.seconds = {}
            return  # which test runs which line is of no use
        for i, slot in enumerate(slots):
            slot.session.send(("baseline", range(i, len(self.names), len(slots))))
        told = {}
        for slot in slots:
            told |= slot.receive(slot.session)
        self.seconds = {number: seconds for number, (seconds, _, _) in told.items()}
        self.runs, self.reads = defaultdict(set), defaultdict(set)
        for number, (_, lines, read) in told.items():
            for file, executed in lines.items():
                for line in executed:
                    self.runs[file, line].add(number)
            for file in read:
                self.reads[file].add(number)

    def order(self, mutant):
        """The tests that can notice, best first."""
        lines = range(mutant.line, mutant.last + 1)
        if mutant.name:
            lines = mutants.uses(self.texts[mutant.file], mutant.name)
        able = set(self.reads[mutant.file]).union(*(self.runs[mutant.file, line] for line in lines))
        first = [number for number in self.killers[mutant.file, mutant.inside] if number in able]
        # Then those that caught most for their time, and the others by their time alone; of the many that are one test
        # on other figures each in its turn, for what one of them does not see its like seldom do.
        rest = sorted(able - set(first), key=lambda n: (-self.caught[n] / (0.02 + self.seconds[n]), self.seconds[n], n))
        turns = Counter()
        turn = {}
        for number in rest:
            alike = self.names[number].partition("[")[0].rpartition("::")[2]
            turn[number] = turns[alike]
            turns[alike] += 1
        rest.sort(key=turn.get)
        return [(number, 1 + 5 * self.seconds[number]) for number in first + rest]

    def stages(self):
        """Test files for a fault in a table: those that found the last ones, then all."""
        files = sorted(set(self.paths))
        first = [file for file in self.killers["tables"] if file in files][:1]
        return [first, files] if first else [files]

    def tried(self, slots):
        left = deque(self.mutants)
        numbers = {name: number for number, name in enumerate(self.names)}
        if any(mutant.file not in self.hot for mutant in self.mutants):
            names_of_others = preload(self.tests)
            for slot in slots:
                slot.fresh = slot.start(lambda talk, slot=slot: Fresh(talk, slot.copy, names_of_others).run())
        busy = {}
        free = list(slots)
        while left or busy:
            while free and left:
                slot, mutant = free.pop(), left.popleft()
                if mutant.file in self.hot:
                    talk = slot.session
                    talk.send(("mutant", mutant, self.order(mutant)))
                else:
                    talk = slot.fresh
                    talk.send((mutant, self.stages(), TABLE_SECONDS))
                busy[talk] = slot, mutant
            for talk in wait(list(busy)):
                slot, mutant = busy.pop(talk)
                free.append(slot)
                told, status = slot.receive(talk)
                result = KILLED if told else HUNG if status < 0 else SURVIVED
                if status > 0 and not told:
                    raise Failed(f"{mutant.file}:{self.line(mutant)}: its process ended with {status}")
                if told in numbers:
                    self.caught[numbers[told]] += 1
                    recent = self.killers[mutant.file, mutant.inside]
                    if numbers[told] in recent:
                        recent.remove(numbers[told])
                    recent.appendleft(numbers[told])
                    if mutant.file not in self.hot:
                        self.killers["tables"].appendleft(self.paths[numbers[told]])
                yield mutant, result, told or None


def preload(tests):
    """Names of the modules of others that the tests import: those that lie outside of this project."""
    text = (
        "import sys, pytest; pytest.main(['-q', '--collect-only', *sys.argv[1:]]);"
        "print(*(n for n, m in sorted(sys.modules.items()) if getattr(m, '__file__', None)"
        " and 'site-packages' in m.__file__ and not n.startswith('cellwarden')), sep='\\n', file=sys.stderr)"
    )
    command = [sys.executable, "-c", text, *PYTEST[1:], *tests]
    return subprocess.run(command, capture_output=True, text=True).stderr.split()


def processor_seconds():
    """What this process and those it waited for have used."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(part.ru_utime + part.ru_stime for part in used)


def main(arguments=None):
    parser = argparse.ArgumentParser(prog="mutate", description=__doc__.split("\n\n")[0])
    parser.add_argument("--only", metavar="FILE[:LINE[-LINE]]", help="the mutants of one file, or of some lines of it")
    parser.add_argument("--json", action="store_true", help="one object a mutant on stdout, then one for the end")
    parser.add_argument("--tests", metavar="FILE", nargs="+", default=TESTS, help="tests; default: those of the core")
    parser.add_argument("--package", metavar="FOLDER", default=PACKAGE, help="another package than the core")
    parser.add_argument("-n", type=int, metavar="N", help="processes; default: one a core of this machine")
    told = parser.parse_args(arguments)
    try:
        return judged(Campaign(told.package, told.tests, told.n), told)
    except Failed as error:
        print(f"mutate: {error}", file=sys.stderr)
        return 2


def judged(campaign, told):
    """Run, show progress, print what survived. Returns the exit status."""
    if told.only:
        campaign.only(told.only)
    count = {KILLED: 0, SURVIVED: 0, HUNG: 0}
    start = time.monotonic()
    shown = sys.stderr.isatty()
    for mutant, result, by in campaign.run():
        count[result] += 1
        place = f"{campaign.package}/{mutant.file}:{campaign.line(mutant)}"
        text = mutant.told(campaign.texts[mutant.file])
        if shown:
            print(f"\r{sum(count.values())} of {len(campaign.mutants)}", end="\r", file=sys.stderr, flush=True)
        if told.json:
            before, after = text.split(" -> ", 1)
            print(
                json.dumps({"place": place, "before": before, "after": after, "result": result, "by": by}), flush=True
            )
        elif result == SURVIVED:
            print(f"{place}: {text}", flush=True)
    total = {
        "mutants": len(campaign.mutants), "killed": count[KILLED] + count[HUNG], "hung": count[HUNG],
        "survived": count[SURVIVED], "tests": len(campaign.names), "seconds": round(time.monotonic() - start),
        "processor_seconds": round(processor_seconds()),
    }  # fmt: skip
    if told.json:
        print(json.dumps({"event": "end", **total}))
    else:
        print(
            "{mutants} mutants of {0}: {killed} killed ({hung} by not ending), {survived} survived; "
            "{tests} tests, {seconds} s, {processor_seconds} s of processor time".format(campaign.package, **total)
        )
    return 1 if count[SURVIVED] else 0


if __name__ == "__main__":
    sys.exit(main())
