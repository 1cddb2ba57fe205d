"""Slurm places twenty jobs on two appliances by `bhctl run`; one appliance is killed, and its jobs run again on the other.

Each of two nodes of a private cluster on this host stands for an appliance: their names are those of bhctl's contexts. Needs root, Debian's slurmctld, slurmd, slurm-client and munge, and
/sys/fs/cgroup, which slurmd wants. Without them it says so and does nothing."""
import argparse
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "boot"))
sys.path.insert(0, os.path.join(HERE, "..", "tools"))

import machine  # noqa: E402

NODES = ("lab", "plant")
JOBS = 20
AT_ONCE = 4  # on each appliance
FAILS = 7  # this job's guest exits with code 7
PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "scontrol")
LIMIT = 900

# A guest of four seconds. A node whose appliance does not answer takes no more jobs.
JOB = """#!/bin/sh
(sleep 4; echo "exit $1") | {bhctl} --host "$SLURMD_NODENAME" run --memory 4M --patience 10 {image}
status=$?
[ $status != 125 ] || {scontrol} update NodeName="$SLURMD_NODENAME" State=DRAIN Reason="appliance lost"
exit $status
"""

CONF = """
ClusterName=bulkhead
SlurmctldHost=localhost
SlurmctldPort={ports[0]}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={dir}/munge/socket
StateSaveLocation={dir}/state
SlurmdSpoolDir={dir}/spool/%n
SlurmctldPidFile={dir}/slurmctld.pid
SlurmdPidFile={dir}/slurmd-%n.pid
SlurmctldLogFile={dir}/slurmctld.log
SlurmdLogFile={dir}/slurmd-%n.log
MpiDefault=none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SlurmdParameters=config_overrides
ReturnToService=2
MinJobAge=86400
RequeueExit=125
NodeName={nodes[0]} NodeHostname=localhost NodeAddr=127.0.0.1 Port={ports[1]} CPUs={cpus} State=UNKNOWN
NodeName={nodes[1]} NodeHostname=localhost NodeAddr=127.0.0.1 Port={ports[2]} CPUs={cpus} State=UNKNOWN
PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


def missing():
    """Why it cannot run here, or None."""
    if os.geteuid() != 0:
        return "slurmctld, slurmd and munged are started as root"
    absent = [p for p in PROGRAMS if not shutil.which(p)]
    if absent:
        return f"{', '.join(absent)}: not installed (apt install slurmctld slurmd slurm-client munge)"
    if not os.path.isdir("/sys/fs/cgroup") or not os.listdir("/sys/fs/cgroup"):
        return "there is no /sys/fs/cgroup, which slurmd wants"
    return None


class Cluster:
    def __init__(self, directory):
        self.dir, self.processes = directory, []
        for name in ("munge", "state", "spool", *(f"spool/{n}" for n in NODES)):
            os.makedirs(f"{directory}/{name}", mode=0o700)
        with open(f"{directory}/munge/key", "wb") as f:
            os.fchmod(f.fileno(), 0o400)
            f.write(os.urandom(128))
        with open(f"{directory}/slurm.conf", "w", encoding="utf-8") as f:
            f.write(CONF.format(dir=directory, nodes=NODES, ports=[machine.free_port() for _ in range(3)], cpus=AT_ONCE))
        self.env = {**os.environ, "SLURM_CONF": f"{directory}/slurm.conf", "XDG_CONFIG_HOME": f"{directory}/config"}

    def boot(self):
        m = f"{self.dir}/munge"
        self.start("munged", "--foreground", "--force", f"--key-file={m}/key", f"--socket={m}/socket", f"--pid-file={m}/pid", f"--log-file={m}/log", f"--seed-file={m}/seed")
        self.until(lambda: os.path.exists(f"{m}/socket"), "munged")
        self.start("slurmctld", "-D")
        for name in NODES:
            self.start("slurmd", "-D", "-N", name)
        self.until(lambda: self.nodes().count("IDLE") == len(NODES), "nodes")

    def start(self, *command):
        with open(f"{self.dir}/{command[0]}.out", "ab") as out:
            self.processes.append(subprocess.Popen(command, env=self.env, stdin=subprocess.DEVNULL, stdout=out, stderr=out))

    def until(self, condition, what):
        end = time.monotonic() + LIMIT
        while not condition():
            dead = [p.args[0] for p in self.processes if p.poll() is not None]
            assert not dead and time.monotonic() < end, f"{what}: {dead or 'in vain'}; logs in {self.dir}"
            time.sleep(0.5)

    def ask(self, *command):
        return subprocess.run(command, env=self.env, check=True, capture_output=True, text=True, timeout=60).stdout

    def nodes(self):
        r = subprocess.run(["scontrol", "-o", "show", "node"], env=self.env, check=False, capture_output=True, text=True)
        return re.findall(r"State=(\S+)", r.stdout)

    def submit(self, script, argument):
        return re.search(r"\d+", self.ask("sbatch", "--requeue", "-n1", f"--output={self.dir}/job-%j.out", "--open-mode=append", script, str(argument)))[0]

    def jobs(self):
        """By number: what Slurm says about it."""
        rows = (dict(re.findall(r"(\w+)=(\S*)", line)) for line in self.ask("scontrol", "-o", "show", "job").splitlines())
        return {r["JobId"]: r for r in rows}

    def stop(self):
        for p in reversed(self.processes):
            if p.poll() is None:
                p.terminate()
        for p in self.processes:
            try:
                p.wait(20)
            except subprocess.TimeoutExpired:
                p.kill()


def bhctl(cluster, build, *args):
    return subprocess.run([f"{build}/bhctl", *args], env=cluster.env, check=True, capture_output=True, text=True, timeout=120).stdout


def wait_for_all(cluster, ids):
    """Requeued jobs start at once, not after Slurm's two minutes."""
    def ended():
        jobs = cluster.jobs()
        for n in ids:
            if jobs[n]["JobState"] == "PENDING" and jobs[n]["Reason"] == "BeginTime":
                subprocess.run(["scontrol", "update", f"JobId={n}", "StartTime=now"], env=cluster.env, check=False, capture_output=True)
        return all(jobs[n]["JobState"] in ("COMPLETED", "FAILED") for n in ids)

    cluster.until(ended, "jobs")
    return cluster.jobs()


def place(cluster, build, appliances):
    script = f"{cluster.dir}/job.sh"
    with open(script, "w", encoding="utf-8") as f:
        f.write(JOB.format(bhctl=f"{build}/bhctl", image=f"{build}/guests/echo.elf", scontrol=shutil.which("scontrol")))
    begin = time.monotonic()
    ids = [cluster.submit(script, FAILS if i == FAILS else 0) for i in range(JOBS)]
    lost = NODES[1]
    # Killed while guests run on it.
    cluster.until(lambda: bhctl(cluster, build, "--host", lost, "guests").count("running") > 2, "guests on " + lost)
    running = [n for n, j in cluster.jobs().items() if j["JobState"] == "RUNNING" and j.get("BatchHost") == lost]
    os.killpg(appliances[lost].process.pid, signal.SIGKILL)
    killed = time.monotonic()
    jobs = wait_for_all(cluster, ids)
    again = [n for n in ids if jobs[n]["Restarts"] != "0"]
    for i, n in enumerate(ids):
        assert jobs[n]["ExitCode"] == (f"{FAILS}:0" if i == FAILS else "0:0"), jobs[n]
    assert again and set(again) >= set(running) and all(jobs[n]["BatchHost"] == NODES[0] for n in again), (again, running)
    assert "DRAIN" in " ".join(cluster.nodes())
    left = bhctl(cluster, build, "--host", NODES[0], "guests").splitlines()[1:], [i for i in bhctl(cluster, build, "--host", NODES[0], "images").splitlines() if " upload " in i]
    assert [g.split()[0] for g in left[0]] == ["mgmt"] and not left[1], left
    print(f"slurm: {JOBS} jobs on {len(NODES)} appliances, {AT_ONCE} at once on each, in {time.monotonic() - begin:.0f} s; {lost} killed {killed - begin:.0f} s after the first was submitted, "
          f"{len(again)} of its jobs requeued and run on {NODES[0]}; nothing is left there")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--build", default="build")
    build = os.path.abspath(parser.parse_args().build)
    why = missing()
    if why:
        print(f"slurm: skipped: {why}")
        return
    os.environ["BULKHEAD_BUILD"] = build
    from appliance import Appliance  # reads the variable

    directory = tempfile.mkdtemp(prefix="slurm-")
    started, cluster = {}, None
    try:
        for name in NODES:
            os.mkdir(f"{directory}/{name}")
            started[name] = Appliance(f"{directory}/{name}", {"guests": []}, cpus=2)
        cluster = Cluster(f"{directory}/slurm")
        cluster.boot()
        for name in NODES:
            bhctl(cluster, build, "contexts", "add", name, "--url", f"http://127.0.0.1:{started[name].port}", "--token", started[name].token)
        place(cluster, build, started)
    finally:
        if cluster:
            cluster.stop()
        for m in started.values():
            m.stop()
    shutil.rmtree(directory)


if __name__ == "__main__":
    main()
