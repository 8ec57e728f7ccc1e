kubectl create -f - <<Y && kubectl patch node $NS --subresource=status --type=merge -p '{"status":{"capacity":{"cpu":"8","memory":"8Gi","pods":"100"},"allocatable":{"cpu":"8","memory":"8Gi","pods":"100"},"conditions":[{"type":"Ready","status":"True","reason":"Static","message":"nobody runs here"}]}}'
apiVersion: v1
kind: Node
metadata: {name: $NS, labels: {kubernetes.io/hostname: $NS}}
spec: {taints: [{key: only, value: $NS, effect: NoSchedule}]}
Y

kubectl taint node $NS node.kubernetes.io/not-ready- >/dev/null 2>&1; kubectl get node $NS -o jsonpath='{.spec.taints}{"\n"}'

kubectl apply -f - <<Y
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      terminationGracePeriodSeconds: 0
      nodeSelector: {kubernetes.io/hostname: $NS}
      tolerations: [{key: only, value: $NS}]
      containers: [{name: web, image: "web:1", ports: [{containerPort: 80}]}]
Y

kubectl rollout status deployment/web --timeout=2s | tail -1

ready() { for i in $(seq 100); do set -- $(kubectl get pods -l app=web,!ready --field-selector=spec.nodeName=$NS -o name); for p in "$@"; do kubectl patch $p --subresource=status --type=merge -p '{"status":{"phase":"Running","podIP":"192.0.2.7","podIPs":[{"ip":"192.0.2.7"}],"startTime":"2026-01-01T00:00:00Z","conditions":[{"type":"Ready","status":"True","lastTransitionTime":"2026-01-01T00:00:00Z"}],"containerStatuses":[{"name":"web","image":"web:1","imageID":"web","containerID":"none://web","ready":true,"started":true,"restartCount":0,"state":{"running":{"startedAt":"2026-01-01T00:00:00Z"}}}]}}' >/dev/null 2>&1; kubectl label $p ready=yes >/dev/null 2>&1; done; kubectl rollout status deployment/web --timeout=1s >/dev/null 2>&1 && return; done; }; declare -f ready > ready.sh; ready; kubectl rollout status deployment/web

kubectl wait --for=condition=Available deployment/web --timeout=10s

kubectl get deployments,replicasets -o wide

kubectl get pods

kubectl expose deployment web --port=80 --target-port=80 --name=front

kubectl expose deployment web --port=80

kubectl expose service front --name=again --port=81 --type=NodePort

kubectl get services -o wide

kubectl set image deployment/web web=web:2

kubectl annotate deployment web kubernetes.io/change-cause='the second'

. ./ready.sh; ready; kubectl rollout status deployment/web

kubectl rollout history deployment/web

kubectl rollout history deployment/web --revision=2

kubectl set image deployment/web none=web:2

kubectl set image deployment/web '*=web:2'

kubectl set env deployment/web A=b FROM-

kubectl set env deployment/web --list

kubectl set resources deployment/web --limits=cpu=1,memory=1Gi --requests=cpu=100m

kubectl set resources deployment/web --limits=cpu=50m

kubectl set serviceaccount deployment/web default

kubectl set selector service front app=other --dry-run=server -o jsonpath='{.spec.selector}{"\n"}'

. ./ready.sh; ready; kubectl rollout status deployment/web

kubectl rollout undo deployment/web --to-revision=1

. ./ready.sh; ready; kubectl rollout status deployment/web

kubectl get deployment web -o jsonpath='{.spec.template.spec.containers[0].image}{"\n"}'

kubectl rollout undo deployment/web --to-revision=99

kubectl rollout pause deployment/web

kubectl rollout pause deployment/web

kubectl rollout restart deployment/web

kubectl rollout undo deployment/web

kubectl rollout resume deployment/web

kubectl rollout restart deployment/web

. ./ready.sh; ready; kubectl rollout status deployment/web

kubectl scale deployment/web --replicas=3 --current-replicas=9

kubectl scale deployment/web --replicas=3 --current-replicas=2

. ./ready.sh; ready; kubectl rollout status deployment/web

kubectl scale deployment/web --replicas=-1

kubectl scale cm/none --replicas=1

kubectl autoscale deployment/web --min=2 --max=5 --cpu-percent=80

kubectl autoscale deployment/web --min=6 --max=5 --name=wrong

kubectl get hpa web -o jsonpath='{.spec}{"\n"}'

kubectl delete hpa web

kubectl describe deployment web | sed '/^Events:/,$d'

kubectl create poddisruptionbudget budget --selector=app=web --min-available=3

kubectl wait pdb/budget --for=jsonpath='{.status.currentHealthy}'=3 --timeout=20s

kubectl get pdb

kubectl cordon $NS

kubectl cordon $NS

kubectl get node $NS

kubectl describe node $NS | sed -n '/^Taints/,/^Lease/p;/^Conditions/,/^  Ready/p'

kubectl create -f - <<Y
apiVersion: v1
kind: Pod
metadata: {name: alone}
spec: {nodeName: $NS, terminationGracePeriodSeconds: 0, containers: [{name: main, image: "one:1"}], tolerations: [{operator: Exists}], volumes: [{name: v, emptyDir: {}}]}
Y

kubectl drain $NS

kubectl drain $NS --force --timeout=8s 2>&1 | sort -u

kubectl drain $NS --force --delete-emptydir-data --timeout=8s 2>&1 | grep -o -e 'Cannot evict pod as.*' -e '^pod/alone .*' -e '^Warning.*' | sort -u

kubectl delete pdb budget

kubectl drain $NS --force --delete-emptydir-data --timeout=60s 2>&1 | sort -u

kubectl get pods --field-selector spec.nodeName=$NS

kubectl uncordon $NS

kubectl uncordon $NS

kubectl taint node $NS key=value:NoSchedule

kubectl taint node $NS key=value:NoSchedule

kubectl taint node $NS key=other:NoSchedule --overwrite

kubectl taint node $NS key=value:Sideways

kubectl taint node $NS key-

kubectl taint node $NS key-

kubectl get node $NS -o jsonpath='{.spec.taints}{"\n"}'

kubectl top node $NS

kubectl run target --image=target:1 --restart=Never --overrides='{"spec":{"nodeSelector":{"nowhere":"true"}}}'

kubectl debug target --image=tool:1 --container=debugger --profile=general -- sh

kubectl get pod target -o yaml | sed -n '/ephemeralContainers/,/terminationMessagePolicy/p'

kubectl debug target --image=tool:1 --copy-to=copied --profile=general --set-image='*=else:1' --container=debugger -- sh

kubectl get pod copied -o jsonpath='{.spec.containers[*].image} {.spec.containers[*].name}{"\n"}'

kubectl debug target --image=tool:1 --container=debugger --profile=general -- sh 2>&1 | head -1

kubectl describe pod target | sed '/^Events:/,$d'

kubectl apply -f - <<Y
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: agents}
spec:
  selector: {matchLabels: {app: agents}}
  template:
    metadata: {labels: {app: agents}}
    spec: {nodeSelector: {nowhere: "true"}, containers: [{name: a, image: "a:1"}]}
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: data}
spec:
  replicas: 0
  serviceName: data
  selector: {matchLabels: {app: data}}
  template:
    metadata: {labels: {app: data}}
    spec: {containers: [{name: d, image: "d:1"}]}
Y

kubectl rollout status daemonset/agents --timeout=20s

kubectl rollout status statefulset/data --timeout=20s

kubectl set image daemonset/agents a=a:2; kubectl set image statefulset/data d=d:2; kubectl rollout status daemonset/agents --timeout=20s;  kubectl rollout status statefulset/data --timeout=20s

kubectl rollout history daemonset/agents

kubectl rollout history statefulset/data

kubectl rollout undo daemonset/agents

kubectl rollout undo statefulset/data --to-revision=1

kubectl get daemonsets,statefulsets -o wide

kubectl rollout restart statefulset/data daemonset/agents

kubectl scale statefulset data --replicas=0

kubectl delete deployment web --cascade=foreground --timeout=30s

kubectl get replicasets

kubectl delete deployment,service,daemonset,statefulset,pod --all --wait=false --grace-period=0 --force 2>/dev/null | sort

kubectl delete node $NS
