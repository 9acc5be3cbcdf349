// SPDX-License-Identifier: Apache-2.0
// A Slurm of our own: munged, slurmctld and slurmd in a private folder, on the loopback, as whoever runs the tests. Nothing outside the folder is
// touched, and nothing stays behind.
import { execFile, execFileSync, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { availableParallelism, tmpdir, userInfo } from 'node:os';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { promisify } from 'node:util';

const path = `${process.env.PATH}:/usr/sbin:/sbin`;

const isElsewhere = process.env.VPREF_TEST_CLUSTER === 'no';

export interface Slurm {
  folder: string;
  env: NodeJS.ProcessEnv;
  /** Runs one of Slurm's commands; rejects with what it said. */
  run(command: string, ...args: string[]): Promise<string>;
  /** sbatch; the job's number. */
  submit(...args: string[]): Promise<string>;
  /** The state of a job, from scontrol: PENDING, RUNNING, COMPLETED, ... */
  state(job: string): Promise<string>;
  /** Until the jobs have ended. Throws when that takes too long. */
  waitFor(jobs: string[], seconds?: number): Promise<void>;
  stop(): Promise<void>;
}

/** What is missing for a Slurm, or undefined. */
export function lacksSlurm(): string | undefined {
  if (isElsewhere) return 'tested with another Node';
  const missing = ['munged', 'slurmctld', 'slurmd', 'sbatch', 'srun'].filter((tool) => !hasTool(tool));
  return missing.length === 0 ? undefined : `no Slurm here (${missing.join(', ')}: Debian slurm-wlm and munge)`;
}

export function lacksMpi(): string | undefined {
  if (isElsewhere) return 'tested with another Node';
  if (!hasTool('mpirun')) return 'no mpirun here (Debian: openmpi-bin)';
  const addon = process.env.VPREF_ADDON ?? 'build/native/vpref_cpu.node';
  const library = join(addon, '..', 'vpref_mpi.so');
  return existsSync(library) ? undefined : `${library}: not built (Debian: libopenmpi-dev)`;
}

function hasTool(tool: string): boolean {
  return path.split(':').some((folder) => existsSync(join(folder, tool)));
}

/** The environment of mpirun on a small machine, as root or not. */
export const mpiEnv = {
  ...process.env,
  OMPI_ALLOW_RUN_AS_ROOT: '1',
  OMPI_ALLOW_RUN_AS_ROOT_CONFIRM: '1',
  OMPI_MCA_rmaps_base_oversubscribe: '1',
  OMP_WAIT_POLICY: 'passive',
};

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as { port: number };
  await new Promise((resolve) => server.close(resolve));
  return port;
}

/** Two partitions of one node: jobs of `high` preempt those of `low`, which are put back into the queue. */
export async function startSlurm(): Promise<Slurm> {
  // Unix sockets have short names.
  const folder = mkdtempSync(join(tmpdir(), 'slurm-'));
  const at = (name: string) => join(folder, name);
  const { username } = userInfo();
  const [controllerPort, nodePort] = [await freePort(), await freePort()];
  for (const name of ['state', 'spool']) mkdirSync(at(name));
  writeFileSync(at('munge.key'), randomBytes(1024), { mode: 0o400 });
  writeFileSync(
    at('slurm.conf'),
    `ClusterName=test
SlurmctldHost=localhost(127.0.0.1)
SlurmUser=${username}
SlurmdUser=${username}
SlurmctldPort=${controllerPort}
SlurmdPort=${nodePort}
AuthType=auth/munge
AuthInfo=socket=${at('munge.sock')},cred_expire=5
CredType=cred/munge
CommunicationParameters=NoCtldInAddrAny,NoInAddrAny
MpiDefault=none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SchedulerType=sched/backfill
SchedulerParameters=bf_interval=2,sched_interval=2,sched_min_interval=100000
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SwitchType=switch/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
JobCompType=jobcomp/none
ReturnToService=2
KillWait=20
MinJobAge=600
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
SlurmdParameters=config_overrides
StateSaveLocation=${at('state')}
SlurmdSpoolDir=${at('spool')}
SlurmctldPidFile=${at('slurmctld.pid')}
SlurmdPidFile=${at('slurmd.pid')}
SlurmctldLogFile=${at('slurmctld.log')}
SlurmdLogFile=${at('slurmd.log')}
NodeName=localhost NodeHostname=localhost NodeAddr=127.0.0.1 CPUs=${Math.max(2, availableParallelism())} RealMemory=1000 State=UNKNOWN
PartitionName=low Nodes=localhost Default=YES MaxTime=INFINITE State=UP PriorityTier=1 PreemptMode=REQUEUE
PartitionName=high Nodes=localhost MaxTime=INFINITE State=UP PriorityTier=10 PreemptMode=OFF
`,
  );
  // A private cluster must not see a real one's variables when the tests themselves are a job.
  const outside = Object.entries(process.env).filter(([name]) => !/^(SLURM|SBATCH|OMPI|PMIX?)_/.test(name));
  const env = { ...Object.fromEntries(outside), PATH: path, SLURM_CONF: at('slurm.conf'), OMP_WAIT_POLICY: 'passive' };
  const run = async (command: string, ...args: string[]) =>
    (await promisify(execFile)(command, args, { env, timeout: 60_000 })).stdout.trim();
  const munge = ['key', 'socket', 'pid', 'log', 'seed'].map((kind) => {
    const file = { key: 'munge.key', socket: 'munge.sock', pid: 'munge.pid', log: 'munge.log', seed: 'munge.seed' };
    return `--${{ key: 'key-file', socket: 'socket', pid: 'pid-file', log: 'log-file', seed: 'seed-file' }[kind]}=${at(file[kind as keyof typeof file])}`;
  });
  const daemons: string[] = [];
  const slurm: Slurm = {
    folder,
    env,
    run,
    submit: async (...args) => (await run('sbatch', '--parsable', ...args)).split(';')[0]!,
    state: async (job) => /JobState=(\w+)/.exec(await run('scontrol', 'show', 'job', job))?.[1] ?? 'UNKNOWN',
    async waitFor(jobs, seconds = 120) {
      const end = Date.now() + seconds * 1000;
      for (;;) {
        const waiting = await run('squeue', '-h', '-j', jobs.join(','), '-o', '%i %T %r').catch(() => '');
        if (waiting === '') return;
        if (Date.now() > end)
          throw new Error(`jobs did not end in ${seconds} s:\n${waiting}\n${tail(at('slurmctld.log'))}`);
        await setTimeout(250);
      }
    },
    async stop() {
      await run('scancel', '-u', username).catch(() => '');
      for (const name of daemons.reverse()) {
        try {
          process.kill(Number(readFileSync(at(`${name}.pid`), 'utf8')));
        } catch {
          // It is gone already.
        }
      }
      for (let tries = 0; tries < 40 && daemons.some((name) => existsSync(at(`${name}.pid`))); tries++)
        await setTimeout(100);
      rmSync(folder, { recursive: true, force: true, maxRetries: 5 });
    },
  };
  try {
    execFileSync('munged', ['--force', ...munge], { env, stdio: 'pipe' });
    daemons.push('munge');
    for (const [name, ...args] of [['slurmctld'], ['slurmd', '-N', 'localhost']]) {
      spawn(name!, args, { env, stdio: 'ignore' }).on('error', () => undefined);
      daemons.push(name!);
    }
    for (let tries = 0; ; tries++) {
      const nodes = await run('sinfo', '-h', '-p', 'low', '-o', '%T').catch(() => '');
      if (nodes === 'idle') return slurm;
      if (tries > 100)
        throw new Error(`Slurm did not start: ${nodes}\n${tail(at('slurmctld.log'))}\n${tail(at('slurmd.log'))}`);
      await setTimeout(200);
    }
  } catch (error) {
    await slurm.stop();
    throw error;
  }
}

function tail(file: string): string {
  return existsSync(file) ? readFileSync(file, 'utf8').trim().split('\n').slice(-8).join('\n') : '';
}
