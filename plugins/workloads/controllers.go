package workloads

import (
	"time"

	"k8s.io/client-go/metadata"
	"k8s.io/client-go/rest"

	"github.com/pintle-dev/pintle/plugins/workloads/bootstrap"
	"github.com/pintle-dev/pintle/plugins/workloads/certificates"
	"github.com/pintle-dev/pintle/plugins/workloads/control"
	"github.com/pintle-dev/pintle/plugins/workloads/cronjob"
	"github.com/pintle-dev/pintle/plugins/workloads/daemonset"
	"github.com/pintle-dev/pintle/plugins/workloads/defaults"
	"github.com/pintle-dev/pintle/plugins/workloads/deployment"
	"github.com/pintle-dev/pintle/plugins/workloads/disruption"
	"github.com/pintle-dev/pintle/plugins/workloads/endpoints"
	"github.com/pintle-dev/pintle/plugins/workloads/endpointslicemirroring"
	"github.com/pintle-dev/pintle/plugins/workloads/eventttl"
	"github.com/pintle-dev/pintle/plugins/workloads/garbage"
	"github.com/pintle-dev/pintle/plugins/workloads/job"
	"github.com/pintle-dev/pintle/plugins/workloads/namespace"
	"github.com/pintle-dev/pintle/plugins/workloads/nodelifecycle"
	"github.com/pintle-dev/pintle/plugins/workloads/podautoscaler"
	"github.com/pintle-dev/pintle/plugins/workloads/podgc"
	"github.com/pintle-dev/pintle/plugins/workloads/protection"
	"github.com/pintle-dev/pintle/plugins/workloads/replicaset"
	"github.com/pintle-dev/pintle/plugins/workloads/replicationcontroller"
	"github.com/pintle-dev/pintle/plugins/workloads/resourcequota"
	"github.com/pintle-dev/pintle/plugins/workloads/servicecidrs"
	"github.com/pintle-dev/pintle/plugins/workloads/statefulset"
	"github.com/pintle-dev/pintle/plugins/workloads/ttlafterfinished"
	"github.com/pintle-dev/pintle/plugins/workloads/volumes"
)

// parts is what controllers are made from.
type parts struct {
	control.Kit
	meta     metadata.Interface
	config   *rest.Config
	storages *volumes.Plugins
	settings Settings
}

// maker makes a controller; nil where there is nothing for it to do. Its name is what
// Settings.Disabled takes.
type maker struct {
	name string
	make func(parts) (runner, error)
}

// eventTTL is how long events live.
const eventTTL = time.Hour

// makers is the list of all controllers.
func makers() []maker {
	return []maker{
		{"serviceaccount", func(p parts) (runner, error) { return defaults.NewServiceAccounts(p.Kit) }},
		{"rootca", rootCA},
		{"replicaset", func(p parts) (runner, error) { return replicaset.New(p.Kit) }},
		{"replicationcontroller-controller", func(p parts) (runner, error) { return replicationcontroller.New(p.Kit) }},
		{"statefulset-controller", func(p parts) (runner, error) { return statefulset.New(p.Kit) }},
		{"daemonset-controller", func(p parts) (runner, error) { return daemonset.New(p.Kit) }},
		{"deployment", func(p parts) (runner, error) { return deployment.New(p.Kit) }},
		{"garbagecollector", func(p parts) (runner, error) {
			return garbage.New(p.Kit, p.Client.Discovery(), p.meta, sharedInformers(p.Kit)), nil
		}},
		{"endpoints", func(p parts) (runner, error) { return endpoints.NewEndpoints(p.Kit) }},
		{"endpointslice", func(p parts) (runner, error) { return endpoints.NewSlices(p.Kit) }},
		{"nodelifecycle", func(p parts) (runner, error) {
			return nodelifecycle.New(p.Kit, p.settings.monitorPeriod(), p.settings.gracePeriod())
		}},
		{"resourcequota-controller", func(p parts) (runner, error) { return resourcequota.New(p.Kit, p.meta) }},
		{"podgc", func(p parts) (runner, error) { return podgc.New(p.Kit, p.settings.TerminatedPodGCThreshold) }},
		{"namespace", func(p parts) (runner, error) { return namespace.New(p.Kit, p.Client.Discovery(), p.meta) }},
		{"disruption-controller", func(p parts) (runner, error) { return disruption.New(p.Kit) }},
		{"endpointslice-mirroring-controller", func(p parts) (runner, error) { return endpointslicemirroring.New(p.Kit) }},
		{"job-controller", func(p parts) (runner, error) { return job.New(p.Kit) }},
		{"cronjob-controller", func(p parts) (runner, error) { return cronjob.New(p.Kit) }},
		{"ttl-after-finished-controller", func(p parts) (runner, error) { return ttlafterfinished.New(p.Kit) }},
		{"horizontal-pod-autoscaler-controller", func(p parts) (runner, error) { return podautoscaler.New(p.Kit, podautoscaler.Options{}) }},
		{"persistentvolumeclaim-protection-controller", func(p parts) (runner, error) { return protection.NewClaims(p.Kit) }},
		{"persistentvolume-protection-controller", func(p parts) (runner, error) { return protection.NewVolumes(p.Kit) }},
		{"persistentvolume-binder-controller", func(p parts) (runner, error) { return volumes.NewBinder(p.Kit, p.storages) }},
		{"persistentvolume-expander-controller", func(p parts) (runner, error) { return volumes.NewExpander(p.Kit, p.storages) }},
		{"persistentvolume-attach-detach-controller", func(p parts) (runner, error) { return volumes.NewAttacher(p.Kit, p.storages) }},
		{"ephemeral-volume-controller", func(p parts) (runner, error) { return volumes.NewEphemeral(p.Kit) }},
		{"certificatesigningrequest-approving-controller", func(p parts) (runner, error) { return certificates.NewApprover(p.Kit) }},
		{"certificatesigningrequest-cleaner-controller", func(p parts) (runner, error) { return certificates.NewCleaner(p.Kit) }},
		{"token-cleaner-controller", func(p parts) (runner, error) { return bootstrap.NewCleaner(p.Kit) }},
		{"bootstrap-signer-controller", func(p parts) (runner, error) { return bootstrap.NewSigner(p.Kit) }},
		{"service-cidr-controller", func(p parts) (runner, error) { return servicecidrs.NewCIDRs(p.Kit) }},
		{"ipallocator-repair-controller", func(p parts) (runner, error) { return servicecidrs.NewRepair(p.Kit) }},
		{"event-ttl-controller", func(p parts) (runner, error) { return eventttl.New(p.Kit, p.meta, eventTTL), nil }},
	}
}

func controllerNames() []string {
	all := makers()
	names := make([]string, len(all))
	for i, m := range all {
		names[i] = m.name
	}
	return names
}
