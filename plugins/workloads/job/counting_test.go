package job_test

import (
	"errors"
	"flag"
	"slices"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	clienttesting "k8s.io/client-go/testing"
	"k8s.io/utils/ptr"
	"pgregory.net/rapid"

	"github.com/pintle-dev/pintle/plugins/workloads/control/controltest"
)

// TestCountsEachPodOnce ends pods in any order, while some writes fail on their way, and holds the
// counts against what has happened.
func TestCountsEachPodOnce(t *testing.T) {
	// Each check is a life of a Job with informers and workers of its own.
	if f := flag.Lookup("rapid.checks"); f.Value.String() == f.DefValue {
		if err := f.Value.Set("20"); err != nil {
			t.Fatal(err)
		}
	}
	rapid.Check(t, func(r *rapid.T) {
		completions := rapid.Int32Range(1, 4).Draw(r, "completions")
		parallelism := rapid.Int32Range(1, 4).Draw(r, "parallelism")
		isIndexed := rapid.Bool().Draw(r, "indexed")
		failures := rapid.SliceOfN(rapid.IntRange(0, 3), 0, 12).Draw(r, "failing writes")
		outcomes := rapid.SliceOfN(rapid.Bool(), 0, 5).Draw(r, "outcomes")
		j := made(size(parallelism, completions), func(s *batchv1.JobSpec) { s.BackoffLimit = ptr.To[int32](1000) })
		if isIndexed {
			asIndexed(&j.Spec)
		}
		controltest.Run(t, []runtime.Object{j}, build, func(env *controltest.Env) {
			e := cluster{env}
			disturb(e, failures)
			succeeded, failed := int32(0), int32(0)
			for step := 0; e.ended() == "" && step < 200; step++ {
				e.Pass(11 * time.Minute) // virtual: beyond any back-off
				for _, p := range e.active() {
					// When the outcomes are used up all succeed.
					if n := int(succeeded + failed); n < len(outcomes) && !outcomes[n] {
						failed++
						e.end(1, p)
						continue
					}
					succeeded++
					e.end(0, p)
				}
			}
			e.Pass(11 * time.Minute)
			s := e.job().Status
			if e.ended() != "Complete CompletionsReached" || s.Succeeded != succeeded || s.Failed != failed || s.Succeeded != completions {
				r.Fatalf("%q: %d have succeeded and %d failed, the status says %+v", e.ended(), succeeded, failed, s)
			}
			for _, p := range e.Pods() {
				if slices.Contains(p.Finalizers, batchv1.JobTrackingFinalizer) {
					r.Fatalf("pod %s has kept its finalizer", p.Name)
				}
			}
		})
	})
}

// disturb lets some writes of the controller fail: the status by a conflict, a finalizer by an error,
// a new pod by another. It takes one number for each write, 0 and above 2 let it through.
func disturb(e cluster, kinds []int) {
	next := func() int {
		if len(kinds) == 0 {
			return 0
		}
		kind := kinds[0]
		kinds = kinds[1:]
		return kind
	}
	e.Client.PrependReactor("update", "jobs", func(a clienttesting.Action) (bool, runtime.Object, error) {
		if a.GetSubresource() == "status" && next() == 1 {
			return true, nil, apierrors.NewConflict(schema.GroupResource{Group: "batch", Resource: "jobs"}, "j", errors.New("changed"))
		}
		return false, nil, nil
	})
	fail := func(clienttesting.Action) (bool, runtime.Object, error) {
		if next() == 2 {
			return true, nil, errors.New("lost on the way")
		}
		return false, nil, nil
	}
	e.Client.PrependReactor("patch", "pods", fail)
	e.Client.PrependReactor("create", "pods", fail)
}
