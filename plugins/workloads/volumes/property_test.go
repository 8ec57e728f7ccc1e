package volumes_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"
	"pgregory.net/rapid"

	"github.com/pintle-dev/pintle/plugins/workloads/control"
	"github.com/pintle-dev/pintle/plugins/workloads/control/controltest"
	"github.com/pintle-dev/pintle/plugins/workloads/volumes"
	"github.com/pintle-dev/pintle/sdk/storage"
)

// step is something that happens in a cluster, and how long nothing else does.
type step struct {
	what  string
	name  int // of a claim or volume
	size  int
	class string
	wait  time.Duration
}

func (s step) String() string {
	return fmt.Sprintf("%s %d (%dGi, class %q), then %s", s.what, s.name, s.size, s.class, s.wait)
}

var steps = rapid.SliceOfN(rapid.Custom(func(t *rapid.T) step {
	return step{
		what: rapid.SampledFrom([]string{
			"claim", "claim", "claim", "volume", "volume", "reserved volume", "claim that names", "delete claim", "delete claim",
			"delete volume", "choose node", "grow", "storage fails", "storage is full", "storage is back", "storage is away",
		}).Draw(t, "what"),
		name: rapid.IntRange(0, 3).Draw(t, "name"), size: rapid.IntRange(1, 3).Draw(t, "size"),
		class: rapid.SampledFrom([]string{"", "static", "mem", "late", "local"}).Draw(t, "class"),
		wait:  rapid.SampledFrom([]time.Duration{0, 0, time.Millisecond, time.Second}).Draw(t, "wait"),
	}
}), 1, 25)

// TestWhateverHappensOneVolumeHasOneClaim lets two binders, as of two servers that both think they
// lead, work on whatever happens, and looks at each rest and at the end.
func TestWhateverHappensOneVolumeHasOneClaim(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		happens := steps.Draw(rt, "steps")
		lag := rapid.SampledFrom([]time.Duration{0, time.Millisecond, 20 * time.Millisecond}).Draw(rt, "lag")
		m, problem, gone := newMemory(), error(nil), map[string]bool{}
		m.keys = []string{v1.LabelHostname}
		two := controltest.All(
			controltest.One(func(k control.Kit) (*volumes.Binder, error) { return volumes.NewBinder(k, m) }),
			controltest.One(func(k control.Kit) (*behind, error) { return newBehind(k, m, lag) }),
			controltest.One(func(k control.Kit) (*volumes.Expander, error) { return volumes.NewExpander(k, m) }),
		)
		controltest.Run(t, nil, two, func(e *controltest.Env) {
			versioned(e.Client)
			create(e, node("n1"))
			create(e, class("mem", driver))
			create(e, class("late", driver, delayed))
			create(e, class("local", "kubernetes.io/no-provisioner", delayed))
			e.SettleLate()
			for i, s := range happens {
				s.happen(e, m, types.UID(fmt.Sprint("uid-", i)))
				if s.what == "delete volume" {
					gone[fmt.Sprint("v", s.name)] = true
				}
				if s.wait > 0 {
					e.Pass(s.wait)
					if problem = consistent(e, m, gone, false); problem != nil {
						problem = fmt.Errorf("after %q: %w", happens[:i+1], problem)
						return
					}
				}
			}
			m.set(func() { m.away, m.fail = false, nil })
			e.Pass(time.Hour)
			problem = consistent(e, m, gone, true)
		})
		if problem != nil {
			rt.Fatal(problem)
		}
	})
}

// behind is a binder whose caches lag behind.
type behind struct {
	*volumes.Binder
	kit control.Kit
}

func newBehind(k control.Kit, m *memory, lag time.Duration) (*behind, error) {
	client, ok := k.Client.(*fake.Clientset)
	if !ok {
		return nil, fmt.Errorf("lag of a %T", k.Client)
	}
	var mu sync.Mutex
	seen := map[schema.GroupVersionResource]bool{}
	client.PrependWatchReactor("*", func(a clienttesting.Action) (bool, watch.Interface, error) {
		mu.Lock()
		defer mu.Unlock()
		second := seen[a.GetResource()] // the second of two that watch the same
		seen[a.GetResource()] = true
		w, err := client.Tracker().Watch(a.GetResource(), a.GetNamespace())
		if err != nil || !second || lag == 0 {
			return true, w, err
		}
		return true, late(w, lag), nil
	})
	k.Informers = informers.NewSharedInformerFactoryWithOptions(k.Client, 0, informers.WithTransform(control.Trim))
	b, err := volumes.NewBinder(k, m)
	return &behind{b, k}, err
}

// late hands on what a watch says some time after it.
func late(from watch.Interface, lag time.Duration) watch.Interface {
	out := make(chan watch.Event)
	to := watch.NewProxyWatcher(out)
	go func() {
		defer from.Stop()
		for {
			select {
			case event, ok := <-from.ResultChan():
				if !ok {
					return
				}
				time.Sleep(lag)
				select {
				case out <- event:
				case <-to.StopChan():
					return
				}
			case <-to.StopChan():
				return
			}
		}
	}()
	return to
}

// Run implements controltest.Runner.
func (b *behind) Run(ctx context.Context) {
	b.kit.Informers.StartWithContext(ctx)
	b.Binder.Run(ctx)
	b.kit.Informers.Shutdown()
}

// happen does one step; what is there already, or is not there, is passed over.
func (s step) happen(e *controltest.Env, m *memory, uid types.UID) {
	claims, pvs := e.Client.CoreV1().PersistentVolumeClaims("default"), e.Client.CoreV1().PersistentVolumes()
	claimName, volumeName := fmt.Sprint("c", s.name), fmt.Sprint("v", s.name)
	switch s.what {
	case "claim", "claim that names":
		c := claim(claimName, s.size, s.class)
		c.UID, c.Status.Phase = uid, v1.ClaimPending
		if s.what == "claim that names" {
			c.Spec.VolumeName = fmt.Sprint("v", s.size)
		}
		_, _ = claims.Create(e.Ctx, c, metav1.CreateOptions{})
	case "volume", "reserved volume":
		pv := volumeOf(volumeName, s.size, s.class)
		pv.UID, pv.Status.Phase = uid, v1.VolumePending
		if s.what == "reserved volume" {
			pv.Spec.ClaimRef = &v1.ObjectReference{Kind: "PersistentVolumeClaim", Namespace: "default", Name: fmt.Sprint("c", s.size)}
		}
		_, _ = pvs.Create(e.Ctx, pv, metav1.CreateOptions{})
	case "delete claim":
		_ = claims.Delete(e.Ctx, claimName, metav1.DeleteOptions{})
	case "delete volume":
		_ = pvs.Delete(e.Ctx, volumeName, metav1.DeleteOptions{})
	case "choose node", "grow":
		c, err := claims.Get(e.Ctx, claimName, metav1.GetOptions{})
		if err != nil {
			return
		}
		if s.what == "grow" {
			if c.Status.Phase != v1.ClaimBound {
				return // the API server does not let others grow
			}
			c.Spec.Resources.Requests = gi(s.size + 3)
		} else if c.Spec.VolumeName == "" {
			metav1.SetMetaDataAnnotation(&c.ObjectMeta, "volume.kubernetes.io/selected-node", "n1")
		}
		_, _ = claims.Update(e.Ctx, c, metav1.UpdateOptions{})
	case "storage fails":
		m.set(func() { m.fail = errors.New("broken") })
	case "storage is full":
		m.set(func() { m.fail = fmt.Errorf("%w: no room", storage.ErrExhausted) })
	case "storage is away":
		m.set(func() { m.away = true })
	case "storage is back":
		m.set(func() { m.away, m.fail = false, nil })
	}
}

// consistent says what must never be; at the end, after which nothing happens, also what was
// left undone. gone are volumes that were deleted at some time: only of these may claims be lost.
func consistent(e *controltest.Env, m *memory, gone map[string]bool, end bool) error {
	claims := controltest.List(e, e.Client.CoreV1().PersistentVolumeClaims("default")).Items
	pvs := map[string]*v1.PersistentVolume{}
	for _, pv := range controltest.List(e, e.Client.CoreV1().PersistentVolumes()).Items {
		pvs[pv.Name] = &pv
	}
	owner, byUID := map[string]string{}, map[types.UID]*v1.PersistentVolumeClaim{}
	for i := range claims {
		c := &claims[i]
		byUID[c.UID] = c
		if c.Status.Phase == v1.ClaimLost && !gone[c.Spec.VolumeName] {
			return fmt.Errorf("claim %s has lost volume %s, which nobody has deleted", c.Name, c.Spec.VolumeName)
		}
		if c.Status.Phase != v1.ClaimBound {
			if err := shouldBeBound(c, pvs, end); err != nil {
				return err
			}
			continue
		}
		name := c.Spec.VolumeName
		if other := owner[name]; other != "" {
			return fmt.Errorf("volume %s is bound to claims %s and %s", name, other, c.Name)
		}
		owner[name] = c.Name
		pv := pvs[name]
		switch {
		case pv == nil && end:
			return fmt.Errorf("claim %s is bound to volume %q, which is gone", c.Name, name)
		case pv == nil:
		case pv.Spec.ClaimRef == nil || pv.Spec.ClaimRef.UID != c.UID:
			return fmt.Errorf("claim %s is bound to volume %s, and that to %+v", c.Name, name, pv.Spec.ClaimRef)
		case pv.Spec.CSI != nil && !m.has(pv.Spec.CSI.VolumeHandle):
			return fmt.Errorf("the storage has lost volume %s of claim %s", name, c.Name)
		case end && c.Status.Capacity.Storage().Cmp(*c.Spec.Resources.Requests.Storage()) < 0 && pv.Spec.CSI != nil:
			return fmt.Errorf("claim %s wants %s and has %s", c.Name, c.Spec.Resources.Requests.Storage(), c.Status.Capacity.Storage())
		}
	}
	if !end {
		return nil
	}
	for name, pv := range pvs {
		ref := pv.Spec.ClaimRef
		alive := ref != nil && byUID[ref.UID] != nil
		switch {
		case pv.Status.Phase == v1.VolumeBound && (!alive || byUID[ref.UID].Spec.VolumeName != name):
			return fmt.Errorf("volume %s is Bound to %+v, which has another or is gone", name, ref)
		case pv.Status.Phase != v1.VolumeBound && alive && byUID[ref.UID].Spec.VolumeName == name:
			return fmt.Errorf("volume %s is %s and has claim %s", name, pv.Status.Phase, ref.Name)
		case pv.Spec.CSI != nil && !alive:
			return fmt.Errorf("volume %s was made for a claim that is gone, and is still there: %s", name, pv.Status.Phase)
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for handle := range m.volumes {
		if pvs[handle] == nil {
			return fmt.Errorf("the storage has volume %s, of which nobody knows", handle)
		}
	}
	return nil
}

// shouldBeBound says that a claim was forgotten.
func shouldBeBound(c *v1.PersistentVolumeClaim, pvs map[string]*v1.PersistentVolume, end bool) error {
	if !end || c.Status.Phase == v1.ClaimLost || c.Spec.VolumeName != "" {
		return nil
	}
	class := *c.Spec.StorageClassName
	if class == "mem" || class == "late" && c.Annotations["volume.kubernetes.io/selected-node"] != "" {
		return fmt.Errorf("claim %s of class %s has no volume, with a storage that would make one", c.Name, class)
	}
	for name, pv := range pvs {
		if class != "late" && class != "local" && pv.Status.Phase == v1.VolumeAvailable && pv.Spec.ClaimRef == nil && pv.Spec.StorageClassName == class &&
			pv.Spec.Capacity.Storage().Cmp(*c.Spec.Resources.Requests.Storage()) >= 0 {
			return fmt.Errorf("claim %s waits, and volume %s would fit", c.Name, name)
		}
	}
	return nil
}
