# helm-unittest, built once. Its go.mod replaces a module, so that `go install` does not take it. Sourced; needs $tools; sets $unittest.
unittest=$tools/helm-unittest-$(cat tests/unittest/go.{mod,sum} | sha256sum | cut -c1-12)
if [ ! -x "$unittest" ]; then
  echo "building helm-unittest (once)" >&2
  (cd tests/unittest
   go build -o "$unittest.new" github.com/helm-unittest/helm-unittest/cmd/helm-unittest
   mv "$unittest.new" "$unittest") >&2
fi
