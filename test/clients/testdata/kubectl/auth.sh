kubectl auth whoami | grep -v -e credential-id

kubectl auth whoami --as=jane --as-group=team -o jsonpath='{.status.userInfo.username} {.status.userInfo.groups}{"\n"}'

kubectl auth can-i get pods

kubectl auth can-i get pods --as=jane

kubectl auth can-i '*' '*'

kubectl auth can-i get /metrics --as=jane

kubectl auth can-i get unicorns --as=jane

kubectl auth can-i create pods --subresource=log --as=jane

kubectl auth can-i --list

kubectl auth can-i --list --as=jane

kubectl auth can-i --list --as=system:serviceaccount:$NS:default | sort

kubectl auth reconcile --dry-run=server -f - <<Y
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: reader, namespace: $NS}
rules: [{apiGroups: [""], resources: [pods], verbs: [get]}]
Y

kubectl auth reconcile -f - <<Y
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: reader, namespace: $NS}
rules: [{apiGroups: [""], resources: [pods], verbs: [get]}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: readers, namespace: $NS}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: reader}
subjects: [{apiGroup: rbac.authorization.k8s.io, kind: User, name: jane}]
Y

kubectl auth reconcile -f - <<Y
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: reader, namespace: $NS}
rules: [{apiGroups: [""], resources: [pods], verbs: [list]}]
Y

kubectl auth reconcile --remove-extra-permissions -f - <<Y
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: reader, namespace: $NS}
rules: [{apiGroups: [""], resources: [pods], verbs: [list]}]
Y

kubectl auth reconcile -f - <<Y
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: readers, namespace: $NS}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: reader}
subjects: [{apiGroup: rbac.authorization.k8s.io, kind: User, name: joe}]
Y

kubectl get rolebinding readers -o wide

kubectl create rolebinding viewers --clusterrole=view --user=joe

kubectl auth can-i list pods --as=joe

kubectl auth can-i list secrets --as=joe

kubectl get secrets --as=joe

kubectl create cm x --as=joe

kubectl get nodes --as=joe

kubectl get --raw /metrics --as=joe

kubectl create role more --verb=get --resource=secrets --as=joe

kubectl create rolebinding edits --clusterrole=edit --user=ed

kubectl create role more --verb=get --resource=secrets --as=ed

kubectl create rolebinding admins --clusterrole=admin --user=ada

kubectl create role more --verb=get,list --resource=nodes --as=ada

kubectl create rolebinding roots --clusterrole=cluster-admin --user=ada --as=ada

kubectl auth can-i --list --as=ada | sort

kubectl get pods --token=nothing

kubectl get sa default --token=$(kubectl create token default)

kubectl get pods --as=jane --as-uid=12 --as-user-extra=a=b

openssl req -new -newkey rsa:2048 -nodes -keyout key.pem -subj /O=team/CN=jane -out csr.pem 2>/dev/null; for n in yes no; do echo '{"apiVersion":"certificates.k8s.io/v1","kind":"CertificateSigningRequest","metadata":{"name":"'$NS-$n'"},"spec":{"request":"'$(base64 -w0 csr.pem)'","signerName":"kubernetes.io/kube-apiserver-client","usages":["client auth"],"expirationSeconds":3600}}' | kubectl create -f -; done

kubectl get csr $NS-yes $NS-no

kubectl certificate approve $NS-yes

kubectl certificate approve $NS-yes

kubectl certificate deny $NS-no

kubectl certificate approve $NS-no

kubectl certificate approve nothing

kubectl wait csr/$NS-yes --for=jsonpath='{.status.certificate}' --timeout=30s

kubectl get csr $NS-yes $NS-no

kubectl describe csr $NS-no | sed '/^Name\|^Annotations/d'

kubectl get csr $NS-yes -o jsonpath='{.status.certificate}' | base64 -d > crt.pem; openssl x509 -in crt.pem -noout -subject -ext extendedKeyUsage,keyUsage,basicConstraints

kubectl config set-credentials jane --client-certificate=crt.pem --client-key=key.pem; kubectl auth whoami --user=jane | grep -e Username -e Groups

kubectl delete csr $NS-yes $NS-no
