package resourcequota

import (
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/pintle-dev/pintle/plugins/internal/quota"
)

// observation is when a state of a quota was first seen.
type observation struct {
	resourceVersion string
	at              time.Time
}

// settle is how long a quota has to stay as it is before its usage is lowered: admission
// charges a quota first and the object is stored then, so what was counted in between lacks
// objects that are about to be there.
const settle = time.Second

// decision is what becomes of a quota's status.
type decision struct {
	status v1.ResourceQuotaStatus
	// write says that status differs from what is there.
	write bool
	// again is when to count again, 0 for not before the regular time.
	again time.Duration
}

// decide compares what has been counted with a quota's status. counted has the names that
// could be counted; of others the status stays. age is how long the quota has been as it is.
func decide(q *v1.ResourceQuota, counted v1.ResourceList, age time.Duration) decision {
	var d decision
	d.status.Hard = quota.Add(q.Spec.Hard, nil)
	d.status.Used = v1.ResourceList{}
	names := quota.Names(q.Spec.Hard)
	for name, amount := range quota.Mask(q.Status.Used, names) {
		d.status.Used[name] = amount
	}
	for name, amount := range quota.Mask(counted, names) {
		was, known := q.Status.Used[name]
		if known && amount.Cmp(was) < 0 && age < settle {
			d.again = max(settle-age, time.Millisecond)
			continue
		}
		if !known {
			// From now on admission charges it; what was written meanwhile was not.
			d.again = max(d.again, settle)
		}
		d.status.Used[name] = amount
	}
	d.write = q.Status.Hard == nil || q.Status.Used == nil ||
		!quota.Equal(d.status.Hard, q.Status.Hard) || !quota.Equal(d.status.Used, q.Status.Used)
	return d
}

// zero returns nothing of each name.
func zero(names []v1.ResourceName) v1.ResourceList {
	out := make(v1.ResourceList, len(names))
	for _, name := range names {
		out[name] = resource.Quantity{Format: resource.DecimalSI}
	}
	return out
}
