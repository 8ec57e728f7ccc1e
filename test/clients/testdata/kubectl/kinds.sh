kubectl create -f - <<Y
apiVersion: v1
kind: Pod
metadata: {name: o}
spec:
  schedulingGates: [{name: example.dev/gate}]
  priorityClassName: ""
  initContainers: [{name: before, image: "i:1", command: [sh, -c, "true"], restartPolicy: Always}]
  containers:
  - name: main
    image: "m:1"
    args: ["1"]
    ports: [{containerPort: 80, name: web, protocol: UDP}]
    env: [{name: A, value: b}, {name: B, valueFrom: {fieldRef: {fieldPath: metadata.name}}}, {name: C, valueFrom: {secretKeyRef: {name: s, key: k, optional: true}}}, {name: D, valueFrom: {resourceFieldRef: {resource: limits.cpu}}}]
    envFrom: [{configMapRef: {name: c}, prefix: P_}]
    resources: {limits: {cpu: "1", memory: 1Gi}, requests: {cpu: 100m}}
    livenessProbe: {httpGet: {path: /live, port: web}}
    readinessProbe: {exec: {command: [ls]}, periodSeconds: 7}
    startupProbe: {tcpSocket: {port: 80}}
    volumeMounts: [{name: e, mountPath: /e, readOnly: true}]
  volumes:
  - {name: e, emptyDir: {medium: Memory, sizeLimit: 1Mi}}
  - {name: h, hostPath: {path: /h}}
  - {name: c, configMap: {name: c}}
  - {name: s, secret: {secretName: s}}
  - {name: p, persistentVolumeClaim: {claimName: p}}
  - {name: d, downwardAPI: {items: [{path: l, fieldRef: {fieldPath: metadata.labels}}]}}
  automountServiceAccountToken: false
  nodeSelector: {x: "y"}
  tolerations: [{key: k, operator: Exists, effect: NoExecute, tolerationSeconds: 30}]
---
apiVersion: v1
kind: Node
metadata: {name: $NS, labels: {node-role.kubernetes.io/control-plane: ""}}
spec: {podCIDR: 198.51.100.0/24, unschedulable: true}
---
apiVersion: v1
kind: Service
metadata: {name: o}
spec: {selector: {app: o}, type: LoadBalancer, sessionAffinity: ClientIP, ports: [{name: web, port: 80, targetPort: web}, {name: dns, port: 53, protocol: UDP}]}
---
apiVersion: v1
kind: Endpoints
metadata: {name: by-hand}
subsets: [{addresses: [{ip: 192.0.2.1}], notReadyAddresses: [{ip: 192.0.2.2}], ports: [{port: 80}]}]
---
apiVersion: v1
kind: ConfigMap
metadata: {name: o, annotations: {a: b}}
data: {k: v}
binaryData: {b: AQI=}
---
apiVersion: v1
kind: Secret
metadata: {name: o}
stringData: {k: secret}
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: o}
imagePullSecrets: [{name: pull}]
---
apiVersion: v1
kind: LimitRange
metadata: {name: o}
spec: {limits: [{type: Pod, max: {cpu: "8"}}]}
---
apiVersion: v1
kind: ResourceQuota
metadata: {name: o}
spec: {hard: {pods: "100", requests.cpu: "200"}, scopes: [Terminating]}
---
apiVersion: v1
kind: PersistentVolume
metadata: {name: $NS}
spec: {capacity: {storage: 1Gi}, accessModes: [ReadWriteOnce], storageClassName: none-$NS, nfs: {server: nfs.example, path: /v}, mountOptions: [ro]}
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: o}
spec: {accessModes: [ReadWriteMany], storageClassName: other-$NS, resources: {requests: {storage: 1Gi}}}
---
apiVersion: v1
kind: PodTemplate
metadata: {name: o}
template: {metadata: {labels: {a: b}}, spec: {containers: [{name: c, image: "c:1"}]}}
---
apiVersion: v1
kind: ReplicationController
metadata: {name: o}
spec: {replicas: 0, selector: {a: rc}, template: {metadata: {labels: {a: rc}}, spec: {containers: [{name: c, image: "c:1"}]}}}

kubectl create -f - <<Y 2>&1 | grep -v 'own network plugin'
apiVersion: apps/v1
kind: Deployment
metadata: {name: o}
spec: {replicas: 0, strategy: {type: Recreate}, minReadySeconds: 3, selector: {matchLabels: {a: d}}, template: {metadata: {labels: {a: d}}, spec: {containers: [{name: c, image: "c:1"}]}}}
---
apiVersion: apps/v1
kind: ReplicaSet
metadata: {name: o}
spec: {replicas: 0, selector: {matchLabels: {a: rs}}, template: {metadata: {labels: {a: rs}}, spec: {containers: [{name: c, image: "c:1"}]}}}
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: o}
spec: {replicas: 0, serviceName: o, selector: {matchLabels: {a: ss}}, template: {metadata: {labels: {a: ss}}, spec: {containers: [{name: c, image: "c:1"}]}}, volumeClaimTemplates: [{metadata: {name: v}, spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}}]}
---
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: o}
spec: {selector: {matchLabels: {a: ds}}, template: {metadata: {labels: {a: ds}}, spec: {nodeSelector: {nowhere: "true"}, containers: [{name: c, image: "c:1"}]}}}
---
apiVersion: apps/v1
kind: ControllerRevision
metadata: {name: o}
revision: 3
data: {some: thing}
---
apiVersion: batch/v1
kind: Job
metadata: {name: o}
spec: {suspend: true, completions: 3, parallelism: 2, completionMode: Indexed, activeDeadlineSeconds: 600, ttlSecondsAfterFinished: 60, backoffLimit: 2, template: {spec: {restartPolicy: Never, containers: [{name: c, image: "c:1"}]}}}
---
apiVersion: batch/v1
kind: CronJob
metadata: {name: o}
spec: {schedule: "0 0 1 1 *", timeZone: Europe/Berlin, suspend: true, concurrencyPolicy: Forbid, startingDeadlineSeconds: 10, jobTemplate: {spec: {template: {spec: {restartPolicy: OnFailure, containers: [{name: c, image: "c:1"}]}}}}}
---
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: o}
spec: {minReplicas: 1, maxReplicas: 3, scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: none}, metrics: [{type: Resource, resource: {name: memory, target: {type: AverageValue, averageValue: 100Mi}}}, {type: Pods, pods: {metric: {name: hits}, target: {type: AverageValue, averageValue: "1"}}}]}
---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata: {name: o}
spec: {maxUnavailable: 30%, selector: {matchLabels: {a: nobody}}}
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: o}
spec: {ingressClassName: $NS, tls: [{hosts: [h.example], secretName: s}], rules: [{host: h.example, http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: o, port: {name: web}}}}, {path: /r, pathType: Exact, backend: {resource: {apiGroup: example.dev, kind: Bucket, name: b}}}]}}]}
---
apiVersion: networking.k8s.io/v1
kind: IngressClass
metadata: {name: $NS, annotations: {ingressclass.kubernetes.io/is-default-class: "false"}}
spec: {controller: example.dev/front, parameters: {apiGroup: example.dev, kind: P, name: p}}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: o}
spec: {podSelector: {matchLabels: {a: b}}, policyTypes: [Ingress, Egress], ingress: [{from: [{podSelector: {}}, {namespaceSelector: {matchLabels: {team: s}}}], ports: [{port: 80}]}], egress: [{to: [{ipBlock: {cidr: 192.0.2.0/24, except: [192.0.2.128/25]}}]}]}
---
apiVersion: networking.k8s.io/v1
kind: IPAddress
metadata: {name: 203.0.113.7}
spec: {parentRef: {resource: services, namespace: $NS, name: o}}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: by-hand}
addressType: IPv4
ports: [{name: web, port: 80, protocol: TCP}]
endpoints: [{addresses: [192.0.2.1], conditions: {ready: true}, hostname: h, nodeName: node, zone: z, targetRef: {kind: Pod, name: p, namespace: $NS}}]
---
apiVersion: coordination.k8s.io/v1
kind: Lease
metadata: {name: o}
spec: {holderIdentity: me, leaseDurationSeconds: 10}

kubectl create -f - <<Y
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: o}
rules: [{apiGroups: ["", apps], resources: [pods, deployments], resourceNames: [one], verbs: [get]}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: o}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: o}
subjects: [{kind: ServiceAccount, name: o, namespace: $NS}, {apiGroup: rbac.authorization.k8s.io, kind: Group, name: g}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: $NS}
rules: [{nonResourceURLs: [/x], verbs: [get]}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: $NS}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: $NS}
subjects: [{apiGroup: rbac.authorization.k8s.io, kind: User, name: u}]
---
apiVersion: storage.k8s.io/v1
kind: StorageClass
metadata: {name: $NS}
provisioner: example.dev/p
parameters: {a: b}
allowVolumeExpansion: true
mountOptions: [ro]
---
apiVersion: storage.k8s.io/v1
kind: CSIDriver
metadata: {name: $NS.example.dev}
spec: {attachRequired: false}
---
apiVersion: storage.k8s.io/v1
kind: CSINode
metadata: {name: $NS}
spec: {drivers: [{name: a.example.dev, nodeID: id, topologyKeys: [k]}]}
---
apiVersion: storage.k8s.io/v1
kind: CSIStorageCapacity
metadata: {name: o}
storageClassName: $NS
capacity: 10Gi
---
apiVersion: storage.k8s.io/v1
kind: VolumeAttachment
metadata: {name: $NS}
spec: {attacher: nobody.example.dev, nodeName: node, source: {persistentVolumeName: v}}
---
apiVersion: storage.k8s.io/v1
kind: VolumeAttributesClass
metadata: {name: $NS}
driverName: nobody.example.dev
parameters: {a: b}
---
apiVersion: scheduling.k8s.io/v1
kind: PriorityClass
metadata: {name: $NS}
value: 7
description: seven
preemptionPolicy: Never
---
apiVersion: node.k8s.io/v1
kind: RuntimeClass
metadata: {name: $NS}
handler: h
overhead: {podFixed: {cpu: 10m}}
---
apiVersion: flowcontrol.apiserver.k8s.io/v1
kind: PriorityLevelConfiguration
metadata: {name: $NS}
spec: {type: Limited, limited: {nominalConcurrencyShares: 1, limitResponse: {type: Queue, queuing: {queues: 8, handSize: 2, queueLengthLimit: 5}}}}
---
apiVersion: flowcontrol.apiserver.k8s.io/v1
kind: FlowSchema
metadata: {name: $NS}
spec: {priorityLevelConfiguration: {name: $NS}, matchingPrecedence: 9000, distinguisherMethod: {type: ByUser}, rules: [{subjects: [{kind: User, user: {name: nobody}}], nonResourceRules: [{verbs: [get], nonResourceURLs: [/nothing]}]}]}
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingWebhookConfiguration
metadata: {name: $NS}
webhooks: [{name: w.example.dev, sideEffects: None, failurePolicy: Ignore, admissionReviewVersions: [v1], clientConfig: {url: "https://192.0.2.1/"}, rules: [{apiGroups: [nobody.example], apiVersions: [v1], operations: [CREATE], resources: [nothings]}]}]
---
apiVersion: admissionregistration.k8s.io/v1
kind: MutatingWebhookConfiguration
metadata: {name: $NS}
webhooks: [{name: w.example.dev, sideEffects: None, failurePolicy: Ignore, admissionReviewVersions: [v1], clientConfig: {url: "https://192.0.2.1/"}, rules: [{apiGroups: [nobody.example], apiVersions: [v1], operations: [CREATE], resources: [nothings]}]}]
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata: {name: $NS}
spec: {matchConstraints: {resourceRules: [{apiGroups: [nobody.example], apiVersions: [v1], operations: [CREATE], resources: [nothings]}]}, validations: [{expression: "object.x == 1", message: one}]}
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata: {name: $NS}
spec: {policyName: $NS, validationActions: [Deny]}
---
apiVersion: admissionregistration.k8s.io/v1
kind: MutatingAdmissionPolicy
metadata: {name: $NS}
spec: {reinvocationPolicy: Never, matchConstraints: {resourceRules: [{apiGroups: [nobody.example], apiVersions: [v1], operations: [CREATE], resources: [nothings]}]}, mutations: [{patchType: JSONPatch, jsonPatch: {expression: "[JSONPatch{op: 'remove', path: '/x'}]"}}]}
---
apiVersion: admissionregistration.k8s.io/v1
kind: MutatingAdmissionPolicyBinding
metadata: {name: $NS}
spec: {policyName: $NS}
---
apiVersion: resource.k8s.io/v1
kind: DeviceClass
metadata: {name: $NS}
spec: {selectors: [{cel: {expression: "device.driver == 'x'"}}]}
---
apiVersion: resource.k8s.io/v1
kind: ResourceClaim
metadata: {name: o}
spec: {devices: {requests: [{name: r, exactly: {deviceClassName: $NS}}]}}
---
apiVersion: resource.k8s.io/v1
kind: ResourceClaimTemplate
metadata: {name: o}
spec: {spec: {devices: {requests: [{name: r, exactly: {deviceClassName: $NS, count: 2}}]}}}
---
apiVersion: resource.k8s.io/v1
kind: ResourceSlice
metadata: {name: $NS}
spec: {driver: d.example, pool: {name: p, generation: 1, resourceSliceCount: 1}, nodeName: node, devices: [{name: dev}]}
---
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: "gears.$NS.example"}
spec:
  group: $NS.example
  scope: Namespaced
  names: {plural: gears, kind: Gear, shortNames: [g-$NS]}
  versions:
  - name: v1
    served: true
    storage: true
    subresources: {status: {}, scale: {specReplicasPath: .spec.teeth, statusReplicasPath: .status.teeth}}
    additionalPrinterColumns: [{name: Teeth, type: integer, jsonPath: .spec.teeth}, {name: Far, type: string, jsonPath: .spec.far, priority: 1}, {name: Age, type: date, jsonPath: .metadata.creationTimestamp}]
    schema: {openAPIV3Schema: {type: object, description: A gear has teeth., properties: {spec: {type: object, required: [teeth], properties: {teeth: {type: integer, minimum: 3, description: How many.}, far: {type: string, default: away}}}, status: {type: object, properties: {teeth: {type: integer}}}}}}
---
apiVersion: apiregistration.k8s.io/v1
kind: APIService
metadata: {name: "v1.$NS.aggregated.example"}
spec: {group: $NS.aggregated.example, version: v1, groupPriorityMinimum: 1000, versionPriority: 10, service: {namespace: $NS, name: o, port: 53}, insecureSkipTLSVerify: true}

kubectl get -o wide pod/o node/$NS service/o endpoints/by-hand cm/o secret/o sa/o limits/o pvc/o podtemplates/o rc/o

kubectl get -o wide pv/$NS | sed 's/Available/Pending/'

kubectl get -o wide rs/o sts/o ds/o controllerrevisions/o job/o cronjob/o ingress/o ingressclass/$NS netpol/o ipaddress/203.0.113.7 servicecidr/kubernetes endpointslice/by-hand lease/o

kubectl get -o wide role/o rolebinding/o clusterrole/$NS clusterrolebinding/$NS sc/$NS csidriver/$NS.example.dev csinode/$NS csistoragecapacity/o volumeattachment/$NS vac/$NS pc/$NS runtimeclass/$NS

kubectl get -o wide prioritylevelconfiguration/$NS flowschema/$NS validatingwebhookconfiguration/$NS mutatingwebhookconfiguration/$NS validatingadmissionpolicy/$NS validatingadmissionpolicybinding/$NS mutatingadmissionpolicy/$NS mutatingadmissionpolicybinding/$NS deviceclass/$NS resourceclaim/o resourceclaimtemplate/o resourceslice/$NS crd/gears.$NS.example

kubectl describe pod/o

kubectl describe node/$NS | sed '/^Events/,$d;s/node.alpha.kubernetes.io.ttl: 0/<none>/;/^Taints/,/^Unsched/d'

kubectl describe service/o endpoints/by-hand cm/o secret/o sa/o limits/o rc/o

kubectl describe pv/$NS | sed 's/Available/Pending/'

kubectl describe pvc/o | sed '/^Events/,$d'

kubectl describe podtemplates/o

kubectl wait --for=condition=Available deployment/o --timeout=30s; kubectl describe deployment/o rs/o sts/o ds/o controllerrevisions/o cronjob/o | sed '/^Events/,/^$/d'

kubectl describe job/o | sed '/^Events/,/^$/d'

kubectl describe hpa/o | sed '/^Conditions/,$d'

kubectl describe pdb/o

kubectl describe ingress/o ingressclass/$NS netpol/o ipaddress/203.0.113.7 servicecidr/kubernetes endpointslice/by-hand lease/o

kubectl describe role/o rolebinding/o clusterrole/$NS clusterrolebinding/$NS sc/$NS csinode/$NS csistoragecapacity/o volumeattachment/$NS vac/$NS pc/$NS runtimeclass/$NS

kubectl describe csidriver/$NS.example.dev | grep -v Generation

kubectl describe validatingwebhookconfiguration/$NS mutatingwebhookconfiguration/$NS validatingadmissionpolicybinding/$NS mutatingadmissionpolicy/$NS mutatingadmissionpolicybinding/$NS deviceclass/$NS resourceclaim/o resourceclaimtemplate/o resourceslice/$NS

kubectl describe prioritylevelconfiguration/$NS flowschema/$NS | sed '/^Status/,/^Events/d'

kubectl wait crd/gears.$NS.example --for=condition=Established --timeout=20s

kubectl describe crd/gears.$NS.example | sed '/Finalizers:/,+1d'

kubectl api-resources --api-group=$NS.example

until kubectl explain gear.spec --api-version=$NS.example/v1 >/dev/null 2>&1; do sleep 0.3; done; kubectl explain --recursive gear --api-version=$NS.example/v1

kubectl explain gear.spec.teeth --api-version=$NS.example/v1

kubectl create -f - <<Y
apiVersion: $NS.example/v1
kind: Gear
metadata: {name: g}
spec: {teeth: 3}
Y

kubectl create -f - <<Y
apiVersion: $NS.example/v1
kind: Gear
metadata: {name: worse}
spec: {teeth: 2, smell: bad}
Y

kubectl create --validate=ignore -f - <<Y
apiVersion: $NS.example/v1
kind: Gear
metadata: {name: worse}
spec: {teeth: 2}
Y

kubectl get g-$NS

kubectl get gears.$NS.example -o wide

kubectl describe gears.$NS.example g

kubectl scale gears.$NS.example g --replicas=5

kubectl patch gears.$NS.example g -p '{}'

kubectl patch gears.$NS.example g --subresource=status --type=merge -p '{"status":{"teeth":4}}'

kubectl wait gears.$NS.example/g --for=jsonpath='{.status.teeth}'=4 --timeout=5s

kubectl get apiservice v1.$NS.aggregated.example v1. v1.apps

kubectl describe apiservice v1.apps

kubectl delete apiservice v1.$NS.aggregated.example

kubectl delete crd gears.$NS.example --timeout=30s

kubectl delete node/$NS pv/$NS ingressclass/$NS ipaddress/203.0.113.7 clusterrole/$NS clusterrolebinding/$NS sc/$NS csidriver/$NS.example.dev csinode/$NS volumeattachment/$NS vac/$NS pc/$NS runtimeclass/$NS flowschema/$NS prioritylevelconfiguration/$NS --wait=false

kubectl delete validatingwebhookconfiguration/$NS mutatingwebhookconfiguration/$NS validatingadmissionpolicy/$NS validatingadmissionpolicybinding/$NS mutatingadmissionpolicy/$NS mutatingadmissionpolicybinding/$NS deviceclass/$NS resourceslice/$NS --wait=false

kubectl delete all,cm,secret,ingress,netpol,pvc --all --wait=false --grace-period=0 >/dev/null 2>&1; kubectl delete pod o --now --ignore-not-found
