# For kafka.sh and registry.sh, which source this: one process for each folder $dir, known by its file `pid`.

die() { echo "$(basename "$0"): $*" >&2; exit 1; }

# The pid file may be stale: only a process that was started for this folder, which its command line names, counts.
alive() { local p; p=$(cat "$dir/pid" 2>/dev/null) && [ -n "$p" ] && tr '\0' ' ' <"/proc/$p/cmdline" 2>/dev/null | grep -qF "$dir"; }

stop() {
  alive || return 0
  local pid until=$((SECONDS + 20)); pid=$(cat "$dir/pid")
  kill -TERM "$pid"
  while alive && [ $SECONDS -lt $until ]; do sleep 0.05; done
  if alive; then kill -KILL "$pid"; fi
  rm -f "$dir/pid"
}
