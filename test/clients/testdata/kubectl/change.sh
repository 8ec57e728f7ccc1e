kubectl create -f - <<Y
apiVersion: v1
kind: Pod
metadata: {name: one, labels: {app: one}}
spec: {nodeSelector: {nowhere: "true"}, containers: [{name: main, image: "one:1", env: [{name: A, value: a}]}, {name: side, image: "side:1"}]}
Y

kubectl create configmap plain --from-literal=a=b --from-literal=c=d

KUBE_EDITOR='sed -i s/"a: b"/"a: edited"/' kubectl edit configmap plain

KUBE_EDITOR=true kubectl edit configmap plain

KUBE_EDITOR='sed -i s/"image: one:1"/"image: one:2"/' kubectl edit pod one

KUBE_EDITOR='sed -i s/"  name: plain"/"  name: other"/' kubectl edit configmap plain 2>&1 | sed -E 's,/tmp/[^ "]*,<file>,'

KUBE_EDITOR='sed -i s/"c: d"/"c: e"/' kubectl edit configmap plain -o json

kubectl patch configmap plain --type=merge -p '{"data":{"a":"merged","c":null}}'

kubectl patch configmap plain --type=merge -p '{"data":{"a":"merged","c":null}}'

kubectl patch configmap plain --type=json -p '[{"op":"test","path":"/data/a","value":"merged"},{"op":"add","path":"/data/z","value":"json"}]'

kubectl patch configmap plain --type=json -p '[{"op":"test","path":"/data/a","value":"else"}]'

kubectl patch configmap plain --type=json -p '[{"op":"remove","path":"/data/none"}]'

kubectl patch configmap plain --type=merge -p '{"data":{"a":1}}' 2>&1 | sed -E 's/(Invalid value: ).*: json:/\1<object>: json:/'

kubectl patch pod one -p '{"spec":{"containers":[{"name":"side","image":"side:2"}]}}'

kubectl patch pod one -p '{"spec":{"containers":[{"name":"side","image":"side:2","command":["x"]}]}}' 2>&1 | head -1

kubectl patch pod one -p '{"spec":{"$setElementOrder/containers":[{"name":"side"}],"containers":[{"$patch":"delete","name":"main"}]}}'

kubectl patch pod one --subresource=status --type=merge -p '{"status":{"message":"patched"}}'

kubectl patch pod one --subresource=resize -p '{"spec":{"containers":[{"name":"side","resources":{"requests":{"cpu":"1"}}}]}}'

kubectl get pod one -o jsonpath='{range .spec.containers[*]}{.name} {.image}{"\n"}{end}{.status.message}{"\n"}'

kubectl patch configmap none --type=merge -p '{"data":{"a":"1"}}'

kubectl patch configmap plain --type=merge -p '{"metadata":{"resourceVersion":"1"}}'

kubectl patch configmap plain --type=merge -p '{"metadata":{"uid":"00000000-0000-0000-0000-000000000000"}}'

kubectl patch configmap plain --dry-run=server --type=merge -p '{"data":{"dry":"run"}}' -o yaml

kubectl get configmap plain -o yaml | sed 's/z: json/z: replaced/' | kubectl replace -f -

kubectl get configmap plain -o yaml | sed 's/resourceVersion: .*/resourceVersion: "1"/' | kubectl replace -f -

kubectl replace -f - <<Y
apiVersion: v1
kind: ConfigMap
metadata: {name: none}
Y

kubectl create configmap forced --from-literal=a=b

kubectl replace --force -f - <<Y
apiVersion: v1
kind: ConfigMap
metadata: {name: forced}
data: {forced: "yes"}
immutable: true
Y

kubectl patch configmap forced --type=merge -p '{"data":{"forced":"no"}}'

kubectl label configmap plain colour=green size=3

kubectl label configmap plain colour=red

kubectl label configmap plain colour=red --overwrite

kubectl label configmap plain colour=red --overwrite

kubectl label configmap plain colour-

kubectl label configmap plain colour-

kubectl label configmap plain bad='not a value'

kubectl label configmap plain x=y --resource-version=1

kubectl label configmaps --all everyone=yes

kubectl label configmaps -l size=3 --list | sort

kubectl annotate configmap plain note='a long note' other=x

kubectl annotate configmap plain note=else

kubectl annotate --overwrite configmap plain note=else other-

kubectl annotate configmap plain --list | sort

kubectl get configmaps --show-labels -L size

kubectl delete configmap plain none

kubectl delete configmaps -l everyone=yes --dry-run=server

kubectl delete configmap forced -o name

kubectl delete pod one --grace-period=0 --force
