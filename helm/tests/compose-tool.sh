# Compose, built once. Sourced; needs $tools; sets $compose.
compose=$tools/compose-v5.2.0
if [ ! -x "$compose" ]; then
  echo "building Compose (once)" >&2
  mkdir -p "$tools/src/compose"
  (cd "$tools/src/compose"
   printf 'module tools\n\ngo 1.26\n' >go.mod
   go get -tool github.com/docker/compose/v5/cmd@v5.2.0
   go build -o "$compose" github.com/docker/compose/v5/cmd) >&2
fi
