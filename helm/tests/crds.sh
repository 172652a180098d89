#!/usr/bin/env bash
# Makes tests/crds anew from the types of the operators, when a version below changes: of Go, and of Strimzi of Java (17 or newer, and Maven). Takes some minutes; the
# outcome is committed.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
export GOBIN=$work/bin
go install sigs.k8s.io/controller-tools/cmd/controller-gen@v0.23.0
printf 'module crds\n\ngo 1.26\n' >go.mod
types=(github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1 github.com/kedacore/keda/v2/apis/keda/v1alpha1 sigs.k8s.io/gateway-api/apis/v1)
{ printf '//go:build tools\n\npackage crds\n\nimport (\n'; printf '\t_ "%s"\n' "${types[@]}"; printf ')\n'; } >crds.go
go get github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring@v0.95.1 github.com/kedacore/keda/v2@v2.21.0 sigs.k8s.io/gateway-api@v1.4.1
go mod tidy
for path in "${types[@]}"; do
  # gateway-api's markers are not all known to this version: it complains, and writes the definitions all the same.
  bin/controller-gen crd paths="$path" output:crd:dir=out || true
done
python3 "$here/crds.py" out/*.yaml
cat >pom.xml <<'X'
<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>hirewire</groupId><artifactId>crds</artifactId><version>1</version>
  <dependencies><dependency><groupId>io.strimzi</groupId><artifactId>api</artifactId><version>0.51.0</version></dependency></dependencies>
</project>
X
mvn -q -B dependency:copy-dependencies -DoutputDirectory=strimzi
java -cp 'strimzi/*' "$here/Strimzi.java" "$here/crds"
