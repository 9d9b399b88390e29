#!/usr/bin/env bash
# A real SLURM on this host, for tests: a controller, accounting over MariaDB, and two nodes of two
# CPUs, in one directory and on ports of their own. As root, on Debian 12 or later.
#
#   export SLURM_CONF=$(tests/clusters/slurm.sh start)    # installs Debian's packages if missing
#   tests/clusters/slurm.sh stop
set -euo pipefail

dir=${BSSCALE_SLURM_DIR:-/tmp/bsscale-slurm}
export SLURM_CONF=$dir/slurm.conf

say() { printf '%s\n' "$*" >&2; }

# Wait up to half a minute for a command to succeed.
await() {
  for _ in {1..150}; do "$@" >/dev/null 2>&1 && return; sleep 0.2; done
  say "slurm.sh: waited in vain for: $*; logs are in $dir"
  return 1
}

install() {
  local packages=(slurmctld slurmd slurm-client munge slurmdbd mariadb-server)
  dpkg -s "${packages[@]}" >/dev/null 2>&1 && return
  say "slurm.sh: installing ${packages[*]}"
  export DEBIAN_FRONTEND=noninteractive
  # The services that packages bring are not wanted: the cluster has its own, below.
  local policy=/usr/sbin/policy-rc.d ours='' status=0
  [ -e "$policy" ] || { printf '#!/bin/sh\nexit 101\n' >"$policy" && chmod +x "$policy" && ours=1; }
  { apt-get install -y --no-install-recommends "${packages[@]}" \
    || { apt-get update && apt-get install -y --no-install-recommends "${packages[@]}"; }; } \
    >"$dir/apt.log" 2>&1 || status=$?
  [ -z "$ours" ] || rm "$policy"
  [ "$status" = 0 ] || { tail -5 "$dir/apt.log" >&2; return "$status"; }
}

configure() {
  local password
  password=$(od -An -N16 -tx1 /dev/urandom | tr -d ' \n')
  cat >"$dir/mariadb.sql" <<END
CREATE DATABASE IF NOT EXISTS slurm_acct_db;
CREATE USER IF NOT EXISTS slurm@'%';
ALTER USER slurm@'%' IDENTIFIED BY '$password';
GRANT ALL ON slurm_acct_db.* TO slurm@'%';
END
  cat >"$dir/slurmdbd.conf" <<END
AuthType=auth/munge
DbdHost=localhost
DbdPort=16819
SlurmUser=root
StorageType=accounting_storage/mysql
StorageHost=127.0.0.1
StoragePort=13306
StorageUser=slurm
StoragePass=$password
LogFile=$dir/slurmdbd.log
PidFile=$dir/slurmdbd.pid
END
  chmod 600 "$dir/slurmdbd.conf" "$dir/mariadb.sql"
  cat >"$dir/slurm.conf" <<END
ClusterName=bsscale
SlurmctldHost=$(hostname -s)(127.0.0.1)
SlurmctldPort=16817
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
SlurmctldPidFile=$dir/slurmctld.pid
SlurmctldLogFile=$dir/slurmctld.log
SlurmdPidFile=$dir/slurmd-%n.pid
SlurmdLogFile=$dir/slurmd-%n.log
SlurmdSpoolDir=$dir/spool-%n
StateSaveLocation=$dir/state
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SlurmdParameters=config_overrides
AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=localhost
AccountingStoragePort=16819
ReturnToService=2
KillWait=15
MessageTimeout=60
NodeName=n[1-2] NodeAddr=127.0.0.1 Port=[17001-17002] CPUs=2 RealMemory=4000
PartitionName=test Nodes=ALL Default=YES MaxTime=60 State=UP
END
}

start() {
  # (sinfo answers if the cluster runs already.)
  if [ -e "$SLURM_CONF" ] && timeout 5 sinfo >/dev/null 2>&1; then echo "$SLURM_CONF"; return; fi
  mkdir -p "$dir/state"
  install
  # Ranks find each other by their nodes' names.
  grep -q '^127.0.0.1 n1 n2$' /etc/hosts || echo '127.0.0.1 n1 n2' >>/etc/hosts
  configure
  if ! munge -n >/dev/null 2>&1; then
    mkdir -p /run/munge && chown munge: /run/munge
    runuser -u munge -- munged >"$dir/munged.log" 2>&1
    touch "$dir/munged.ours"
  fi
  [ -d "$dir/db" ] || mariadb-install-db --no-defaults --user=root --datadir="$dir/db" \
    --auth-root-authentication-method=normal --skip-test-db >"$dir/mariadb.log" 2>&1
  mariadbd --no-defaults --user=root --datadir="$dir/db" --bind-address=127.0.0.1 --port=13306 \
    --socket="$dir/mariadb.sock" --pid-file="$dir/mariadb.pid" --init-file="$dir/mariadb.sql" \
    --innodb-buffer-pool-size=64M >>"$dir/mariadb.log" 2>&1 </dev/null &
  await mariadb-admin --no-defaults --socket="$dir/mariadb.sock" -u root ping
  # Its configuration has to lie beside slurm.conf.
  slurmdbd
  await sacctmgr -n list cluster
  sacctmgr -n list cluster format=cluster | grep -qw bsscale || sacctmgr -iQ add cluster bsscale >/dev/null
  slurmctld
  await scontrol ping
  slurmd -N n1
  slurmd -N n2
  await bash -c 'test "$(sinfo -h -N -t idle,mix,alloc -o %N | sort -u | wc -l)" = 2'
  echo "$SLURM_CONF"
}

stop() {
  [ -d "$dir" ] || return 0
  [ ! -e "$SLURM_CONF" ] || timeout 10 scancel -u root >/dev/null 2>&1 || true
  local pidfile pid
  for pidfile in "$dir"/{slurmd-n1,slurmd-n2,slurmctld,slurmdbd,mariadb}.pid; do
    [ -e "$pidfile" ] || continue
    pid=$(cat "$pidfile")
    kill "$pid" 2>/dev/null || continue
    # (where nobody reaps it, a process that has ended stays as a zombie)
    for _ in {1..100}; do
      ps -o stat= -p "$pid" | grep -q '^[^Z]' || break
      sleep 0.1
    done
    kill -9 "$pid" 2>/dev/null || true
  done
  [ ! -e "$dir/munged.ours" ] || runuser -u munge -- munged --stop >/dev/null 2>&1 || true
  sed '/^127.0.0.1 n1 n2$/d' /etc/hosts >"$dir/hosts" && cat "$dir/hosts" >/etc/hosts
  rm -rf "$dir"
}

case ${1:-} in
  start | stop) "$1" ;;
  *) say "usage: $0 start|stop"; exit 2 ;;
esac
