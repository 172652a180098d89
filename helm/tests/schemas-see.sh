# The check of schemas sees: a wrong field, a wrong type and a wrong field of an operator's object, each put into a good render, are refused.
# Sourced; needs conform, as check calls it, and $work.
see() { # $1: file, $2: text, $3: text instead
  grep -qF "$2" "$work/rendered/$1.yaml" || { echo "tests/schemas-see.sh: $1 has no \"$2\" any more" >&2; exit 1; }
  sed "s|$2|$3|" "$work/rendered/$1.yaml" >"$work/wrong.yaml"
  if conform 1.34.0 "$work/wrong.yaml" >/dev/null; then
    echo "tests/schemas-see.sh: \"$3\" in $1 was taken" >&2; exit 1
  fi
}
see values-production 'enableServiceLinks:' 'enableServiceLink:'
see values-production 'replicas: 2' 'replicas: two'
see values-production 'interval: 30s' 'intervall: 30s'
see values-production 'podMetricsEndpoints:' 'podMetricEndpoints:'
see values-production 'parentRefs:' 'parentRef:'
see autoscaling-keda-for-normalize 'minReplicaCount:' 'minReplicasCount:'
see strimzi-topics-outlive-the-release-with-their-records 'topicName:' 'topicname:'
see strimzi-topics-outlive-the-release-with-their-records 'patternType: literal' 'patternType: exact'
see values-small 'apiVersion: apps/v1' 'apiVersion: apps/v1beta1'
