kubectl create clusterrole $NS-reader --verb=get,list --resource=pods,deployments.apps,pods/log

kubectl create clusterrole $NS-url --verb=get --non-resource-url=/logs/*

kubectl create clusterrole $NS-agg --aggregation-rule=kubernetes.io/bootstrapping=x

kubectl create clusterrolebinding $NS-readers --clusterrole=$NS-reader --user=mary --group=crew --serviceaccount=$NS:default

kubectl create role reader --verb=get --resource=configmaps --resource-name=one

kubectl create role odd --verb=fly --resource=unicorns

kubectl create rolebinding readers --role=reader --user=mary

kubectl create configmap literal --from-literal=a=b --append-hash

kubectl create configmap literal

kubectl create configmap literal

kubectl create secret generic words --from-literal=password=hidden

kubectl create secret docker-registry pull --docker-server=registry.example --docker-username=u --docker-password=p

kubectl create secret tls none --cert=/nonexistent --key=/nonexistent

kubectl create deployment web --image=web:1 --replicas=0 --port=80

kubectl create job once --image=once:1 -- echo hello

kubectl create cronjob nightly --image=n:1 --schedule='0 3 * * *' -- sh -c true

kubectl create cronjob wrong --image=n:1 --schedule='never'

kubectl create job by-hand --from=cronjob/nightly

kubectl create ingress site --class=front --rule='site.example/path*=web:80,tls=cert' --default-backend=web:http --annotation=a=b

kubectl create poddisruptionbudget budget --selector=app=web --min-available=50%

kubectl create priorityclass $NS-high --value=1000 --description='high ones'

kubectl create priorityclass system-$NS --value=10

kubectl create quota limits --hard=pods=10,requests.cpu=2,count/jobs.batch=5 --scopes=NotTerminating

kubectl create quota wide --hard=pods=10

kubectl create service clusterip plain --tcp=80:8080

kubectl create service clusterip headless --clusterip=None

kubectl create service nodeport ported --tcp=80

kubectl create service loadbalancer balanced --tcp=443:https

kubectl create service externalname outside --external-name=outside.example --tcp=80

kubectl create serviceaccount robot

kubectl create serviceaccount robot

kubectl create token robot --duration=1h --audience=x | cut -c1-2

kubectl create token robot --duration=1m

kubectl create token robot --bound-object-kind=Secret --bound-object-name=words --duration=30m | cut -c1-2

kubectl create token nobody

kubectl create namespace $NS

kubectl create namespace Bad_Name

kubectl run pod --image=pod:1 --restart=Never --labels=run=pod --env=A=b --port=80 --expose --overrides='{"spec":{"nodeSelector":{"nowhere":"true"}}}'

kubectl run pod --image=pod:1

kubectl run dry --image=pod:1 --dry-run=server -o yaml --command -- sleep 10

kubectl get deployments,jobs,cronjobs,ingresses,pdb,quota,services,sa,pods,configmaps,secrets,roles,rolebindings

kubectl get deployment web -o yaml

kubectl get job once -o yaml | sed '/controller-uid/d'

kubectl get cronjob nightly -o yaml

kubectl get ingress site -o yaml

kubectl get service ported balanced headless outside -o yaml | sed '/kube-controller-manager/d'

kubectl get secret pull -o yaml

kubectl get resourcequota limits -o yaml

kubectl get clusterrole $NS-reader -o yaml

kubectl delete clusterrole $NS-reader $NS-url $NS-agg

kubectl delete clusterrolebinding/$NS-readers priorityclass/$NS-high
