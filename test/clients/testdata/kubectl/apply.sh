kubectl apply -f - <<Y
apiVersion: v1
kind: ConfigMap
metadata: {name: settings, labels: {app: web}}
data: {colour: green, size: "3"}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 0
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: web, image: "web:1", ports: [{containerPort: 80}]}]}
Y

kubectl get configmap settings -o yaml

kubectl apply -f - <<Y
apiVersion: v1
kind: ConfigMap
metadata: {name: settings, labels: {app: web}}
data: {colour: green, size: "3"}
Y

kubectl apply -f - <<Y
apiVersion: v1
kind: ConfigMap
metadata: {name: settings, labels: {app: web}}
data: {colour: red}
Y

kubectl get configmap settings -o jsonpath='{.data}{"\n"}'

kubectl apply view-last-applied configmap/settings

kubectl create configmap bare --from-literal=a=b

kubectl apply -f - <<Y
apiVersion: v1
kind: ConfigMap
metadata: {name: bare}
data: {a: c}
Y

kubectl apply set-last-applied --create-annotation -f - <<Y
apiVersion: v1
kind: ConfigMap
metadata: {name: bare}
data: {a: c}
Y

KUBE_EDITOR='sed -i s/"a: c"/"a: d"/' kubectl apply edit-last-applied configmap/bare

kubectl get configmap bare -o jsonpath='{.metadata.annotations}{"\n"}'

kubectl apply --dry-run=server -f - <<Y
apiVersion: v1
kind: ConfigMap
metadata: {name: dry}
data: {a: c}
Y

kubectl get configmap dry

kubectl apply --server-side -f - <<Y
apiVersion: v1
kind: ConfigMap
metadata: {name: shared}
data: {colour: green, size: "3"}
Y

kubectl apply --server-side --field-manager=other -f - <<Y
apiVersion: v1
kind: ConfigMap
metadata: {name: shared}
data: {colour: red, size: "4"}
Y

kubectl apply --server-side --field-manager=other --force-conflicts -f - <<Y
apiVersion: v1
kind: ConfigMap
metadata: {name: shared}
data: {colour: red}
Y

kubectl get configmap shared -o yaml --show-managed-fields

kubectl apply --server-side -f - <<Y
apiVersion: v1
kind: ConfigMap
metadata: {name: shared}
data: {}
Y

kubectl get configmap shared -o jsonpath='{.data}{"\n"}'

kubectl apply --server-side -f - <<Y
apiVersion: v1
kind: ConfigMap
metadata: {name: settings}
data: {colour: blue}
Y

kubectl get configmap settings -o yaml --show-managed-fields

kubectl apply --server-side -f - <<Y
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  template:
    spec: {containers: [{name: web, image: "web:2"}]}
Y

kubectl apply --server-side --field-manager=other -f - <<Y
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  template:
    spec: {containers: [{name: web, image: "web:3"}, {name: side, image: "side:1"}]}
Y

kubectl apply --server-side --dry-run=server --field-manager=other -f - <<Y
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 4
Y

kubectl diff -f - <<Y | sed -E 's,^(diff|---|\+\+\+).*/,\1 ,'
apiVersion: v1
kind: ConfigMap
metadata: {name: settings}
data: {colour: yellow}
Y

kubectl diff -f - <<Y
apiVersion: v1
kind: ConfigMap
metadata: {name: bare}
data: {a: d}
Y

kubectl diff --server-side -f - <<Y | sed -E 's,^(diff|---|\+\+\+).*/,\1 ,'
apiVersion: v1
kind: ConfigMap
metadata: {name: shared}
data: {size: "9"}
Y

kubectl apply -f - <<Y
apiVersion: v1
kind: ConfigMap
metadata: {name: settings}
datum: {colour: yellow}
data: {a: b, a: c}
Y

kubectl apply --validate=warn -f - <<Y
apiVersion: v1
kind: ConfigMap
metadata: {name: warned}
datum: {colour: yellow}
Y

kubectl apply --validate=ignore -f - <<Y
apiVersion: v1
kind: ConfigMap
metadata: {name: ignored}
datum: {colour: yellow}
Y

kubectl apply -f - <<Y
apiVersion: v1
kind: Pod
metadata: {name: "Bad_Name"}
spec: {containers: [{name: c}]}
Y

kubectl apply -f - <<Y
apiVersion: v1
kind: Pod
metadata: {name: typed}
spec: {containers: [{name: c, image: i, ports: [{containerPort: "80"}]}]}
Y

kubectl apply -f - <<Y
apiVersion: nobody.example/v1
kind: Nothing
metadata: {name: nothing}
Y

kubectl apply -l app=web --prune --prune-allowlist=core/v1/ConfigMap -f - <<Y
apiVersion: v1
kind: ConfigMap
metadata: {name: kept, labels: {app: web}}
Y

kubectl get configmaps

kubectl delete -f - <<Y
apiVersion: v1
kind: ConfigMap
metadata: {name: kept, labels: {app: web}}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: never}
Y
