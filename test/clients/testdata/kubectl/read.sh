for i in 3 1 2; do kubectl create configmap c$i --from-literal=n=$i; done; kubectl label cm c1 c2 half=yes

kubectl get cm

kubectl get cm c1 c2 -o name

kubectl get cm c1 nothing

kubectl get cm nothing --ignore-not-found

kubectl get cm -l half=yes

kubectl get cm -l 'half notin (yes)'

kubectl get cm -l 'half in (yes'

kubectl get cm --field-selector metadata.name=c3

kubectl get cm --sort-by='{.data.n}' -o custom-columns=NAME:.metadata.name,N:.data.n

kubectl get cm c1 c2 -o jsonpath='{range .items[*]}{.metadata.name}={.data.n}{"\n"}{end}'

kubectl get cm c1 -o go-template='{{range $k, $v := .data}}{{$k}}:{{$v}}{{"\n"}}{{end}}'

kubectl get cm c1 -o json

kubectl get cm c1 -o yaml

kubectl get cm --no-headers

kubectl get cm --chunk-size=1 -o wide

kubectl get cm --server-print=false

kubectl get cm/c1 sa/default

kubectl get cm,sa

kubectl get all

kubectl get nothings

kubectl get nothings.nobody.example

kubectl get configmaps.v1. c1

kubectl get deployments.v1.apps

kubectl get deploy,rs,sts,ds,jobs,cj,hpa,pods,svc,ep,endpointslices,netpol,ing,pvc,pdb,limits,quota,secrets,leases,roles,rolebindings,podtemplates,controllerrevisions,resourceclaims,csistoragecapacities

kubectl get namespace $NS

kubectl get namespaces default kube-system kube-public kube-node-lease

kubectl get pods --all-namespaces -l nobody=here

kubectl get cm -w --request-timeout=2s --output-watch-events -o name 2>&1 | head -3

kubectl get --raw /api/v1/namespaces/$NS/configmaps/c1/nothing

kubectl get --raw /api/v1/namespaces/$NS/configmaps/none

kubectl get --raw /api

kubectl get --raw /nothing

kubectl get --raw '/readyz' && echo

kubectl get --raw '/livez' && echo

kubectl get --raw "/api/v1/namespaces/$NS/configmaps?limit=1" | grep -o -e '"remainingItemCount":[0-9]*' -e '"kind":"ConfigMapList"' -e '"n":"1"' | sort

kubectl get --raw /version | grep -E 'major|minor"'

kubectl get --raw /apis/policy/v1

kubectl get --raw /apis/apps

echo '{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"raw"}}' | kubectl create --raw /api/v1/namespaces/$NS/configmaps -f - | grep -o '"name":"raw"'

kubectl delete --raw /api/v1/namespaces/$NS/configmaps/raw | grep -o '"status":"Success"'

kubectl cluster-info | sed -E 's/\x1b\[[0-9;]*m//g'

kubectl version

kubectl top pods

kubectl top nodes

kubectl events

kubectl create -f - <<Y
apiVersion: v1
kind: Event
metadata: {name: told}
involvedObject: {kind: ConfigMap, name: c1, namespace: $NS}
reason: Told
message: something happened
type: Normal
source: {component: someone}
count: 1
firstTimestamp: "2030-01-01T00:00:00Z"
lastTimestamp: "2030-01-01T00:00:00Z"
Y

kubectl events --for=configmap/c1 | sed -E 's/<unknown>|-?[0-9]+[dhmsy]+/<age>/'

kubectl events --types=Warning

kubectl get events --field-selector involvedObject.name=c1,reason=Told -o custom-columns=R:.reason,M:.message

kubectl describe cm c1

kubectl describe cm nothing

kubectl describe secret,role

kubectl wait cm/c1 --for=jsonpath='{.data.n}'=1 --timeout=5s

kubectl wait cm/c1 --for=jsonpath='{.data.n}'=2 --timeout=1s

kubectl wait cm/c1 --for=condition=Ready --timeout=1s

kubectl wait cm/nothing --for=delete --timeout=2s

(sleep 1; kubectl create cm later >/dev/null) & kubectl wait cm/later --for=create --timeout=20s; wait

(sleep 1; kubectl delete cm later >/dev/null) & kubectl wait cm/later --for=delete --timeout=20s; wait

kubectl wait cm/nothing --for=create --timeout=1s

kubectl logs nothing

kubectl exec nothing -- true

kubectl attach nothing

kubectl port-forward pod/nothing 80

kubectl cp nothing:/x /tmp/x

kubectl proxy --port=0 > proxy.log & for i in $(seq 100); do grep -q Starting proxy.log && break; sleep 0.1; done; curl -s http://$(sed 's/.* //' proxy.log)/api/v1/namespaces/$NS/configmaps/c1 | tr -d ' ' | grep -o '"n":"1"'; kill $!; wait $!
