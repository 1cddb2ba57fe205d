"""bhctl's completion in a real interactive bash: only that splits command lines the way users see it."""
import os
import pty
import re
import select
import subprocess
import threading
import time

import pytest

from bhctl import BHCTL, COMMANDS, LIMIT, Other, environment

ALL, SHOW, CLEAR = b"\x18a", b"\x18p", b"\x15"


class Shell:
    def __init__(self, breaks, url="http://127.0.0.1:9", extra="", patient=True):
        """`patient`: an answer may take longer than the completion allows, on a busy computer."""
        self.fd, other = pty.openpty()
        env = {**environment(url, "t"), "PATH": os.path.dirname(BHCTL) + ":" + os.environ["PATH"], "PS1": "$ ", "INPUTRC": "/dev/null", "COLUMNS": "1000"}
        self.process = subprocess.Popen(["bash", "--norc", "--noprofile", "-i"], stdin=other, stdout=other, stderr=other, env=env, start_new_session=True, close_fds=True)
        os.close(other)
        self.seen = ""
        self.run(f"COMP_WORDBREAKS={breaks}; bind 'set enable-bracketed-paste off'; bind 'set bell-style none'; bind '\"\\C-xa\": insert-completions'; "
                 "bind -x '\"\\C-xp\": printf \"<%s>\\n\" \"$READLINE_LINE\"'; source mgmt/bhctl/bhctl.bash" + extra +
                 (f"; timeout() {{ command timeout {LIMIT} \"${{@:2}}\"; }}" if patient else ""))

    def run(self, command):
        os.write(self.fd, command.encode() + b"; echo do''ne\n")
        self.until(r"done\r?\n")

    def until(self, pattern):
        end = time.monotonic() + LIMIT
        while not (match := re.search(pattern, self.seen)):
            assert time.monotonic() < end, self.seen
            if select.select([self.fd], [], [], 0.1)[0]:
                self.seen += os.read(self.fd, 65536).decode("utf-8", "replace")
        self.seen = self.seen[match.end():]
        return match

    def line(self, text, key):
        """The command line after `text` and the key were typed."""
        os.write(self.fd, text.encode() + key + SHOW)
        line = self.until(r"<(bhctl [^>]*)>\r?\n")[1]
        os.write(self.fd, CLEAR)
        return line

    def tab(self, text):
        return self.line(text, b"\t")

    def all(self, text):
        """All completions offered for the last word."""
        return sorted(self.line(text, ALL).split()[len(text.split()) - (text[-1] != " "):])

    def close(self):
        self.process.kill()
        self.process.wait()
        os.close(self.fd)


# The characters at which bash splits words by default, and a common change of them.
@pytest.fixture(params=["$COMP_WORDBREAKS", "${COMP_WORDBREAKS//:}", "${COMP_WORDBREAKS//[:=]}"], ids=["usual", "no-colon", "neither"])
def shell(request):
    shells = []

    def start(*args, **more):
        shells.append(Shell(request.param, *args, **more))
        return shells[-1]

    yield start
    for s in shells:
        s.close()


@pytest.fixture
def appliance():
    def answer(handler):
        names = ["late-echo.elf", "guests/hog.elf", "late-pad"] if handler.path == "/v1/images" else ["echo", "hog", "hog-2"]
        handler.say(200, ('{"list":[' + ",".join(f'{{"name":"{n}"}}' for n in names) + "]}").encode())
        return True

    with Other() as s:
        s.hook = answer
        yield s


def test_commands_and_options(shell):
    s = shell()
    assert s.all("bhctl ") == sorted([*COMMANDS, "--host", "--url", "--token", "--token-file", "--cacert", "--fingerprint", "--insecure", "--json", "--help", "--version"])
    assert s.all("bhctl sta") == ["start", "status"] and s.tab("bhctl --js") == "bhctl --json " and s.tab("bhctl statu") == "bhctl status "
    assert s.all("bhctl deploy f --mod") == ["--module", "--module-args", "--module-image"] and s.all("bhctl deploy f --restart ") == ["always", "never", "on-failure"]
    assert s.tab("bhctl deploy f --restart=on") == "bhctl deploy f --restart=on-failure " and s.all("bhctl top --sort ") == ["cpu", "exits", "memory", "name"]
    assert s.tab("bhctl --url http://127.0.0.1:1 ima") == "bhctl --url http://127.0.0.1:1 images "
    assert s.tab("bhctl --url=http://[::1]:1 --token=x ima") == "bhctl --url=http://[::1]:1 --token=x images "
    assert s.tab("bhctl --url https") == "bhctl --url https://" and s.tab("bhctl --url=https:") == "bhctl --url=https://"
    assert s.tab("bhctl status ") == "bhctl status "  # there is no appliance


def test_names(shell, appliance):
    s = shell(appliance.url)
    assert s.all("bhctl status ") == ["echo", "hog", "hog-2"] and s.tab("bhctl console e") == "bhctl console echo "
    assert s.all("bhctl images --delete ") == ["guests/hog.elf", "late-echo.elf", "late-pad"] and s.tab("bhctl deploy --image=gu") == "bhctl deploy --image=guests/hog.elf "
    assert s.tab("bhctl deploy --module-image late-p") == "bhctl deploy --module-image late-pad "


def test_the_appliance_is_the_one_that_is_named(shell, appliance):
    s = shell()
    for options in (f"--url {appliance.url} --token u", f"--token=u --url={appliance.url}", f"-k --url '{appliance.url}' --token \"u\""):
        assert s.tab(f"bhctl {options} pause e") == f"bhctl {options} pause echo "
    assert [h["Authorization"] for _, _, h, _ in appliance.asked] == ["Bearer u"] * 3


def test_file_names(shell, tmp_path):
    s = shell()
    (tmp_path / "a kernel.elf").write_bytes(b"")
    (tmp_path / "with:colon=and").write_bytes(b"")
    (tmp_path / "directory" / "inner").mkdir(parents=True)
    s.run(f"cd '{tmp_path}'; HOME='{tmp_path}'")
    assert s.tab("bhctl deploy a") == r"bhctl deploy a\ kernel.elf " and s.tab("bhctl deploy 'a k") == "bhctl deploy 'a kernel.elf' "
    assert s.tab("bhctl deploy dir") == "bhctl deploy directory/" and s.tab("bhctl deploy directory/") == "bhctl deploy directory/inner/"
    assert s.tab("bhctl deploy x --module a") == r"bhctl deploy x --module a\ kernel.elf "
    assert re.fullmatch(r"bhctl deploy with\\?:colon\\?=and ", s.tab("bhctl deploy with"))
    if "usual" in os.environ["PYTEST_CURRENT_TEST"]:
        assert s.tab("bhctl --token-file=a") == r"bhctl --token-file=a\ kernel.elf "
    assert s.tab("bhctl --cacert ~/dir") == "bhctl --cacert ~/directory/"


def test_a_name_is_no_command(shell, tmp_path):
    """Another server offers its own names."""
    body = '{"guests":[{"name":"$(touch %s)"},{"name":"`touch %s`"},{"name":"good"}]}' % (tmp_path / "one", tmp_path / "two")
    with Other(body=body.encode()) as s:
        assert shell(s.url).all("bhctl status ") == ["good"]
    assert list(tmp_path.iterdir()) == []


def test_an_appliance_that_hangs(shell):
    with Other() as s:
        over = threading.Event()
        s.hook = lambda handler: over.wait(LIMIT)
        hurried = shell(s.url, patient=False)
        start = time.monotonic()
        assert hurried.tab("bhctl status x") == "bhctl status x" and time.monotonic() - start < 50  # bhctl alone would wait for a minute
        over.set()


def test_with_bash_completion(shell, appliance):
    """If its function exists, that is used."""
    s = shell(appliance.url, extra="""; _get_comp_words_by_ref() { asked="$*"; cur=e prev=status cword=2 words=(bhctl status e); }""")
    assert s.tab("bhctl status zzz") == "bhctl status echo "
    s.run('[ "$asked" = "-n := cur prev words cword" ]; echo "it is $?"')
