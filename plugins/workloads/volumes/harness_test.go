package volumes_test

import (
	"context"
	"fmt"
	"sync"
	"testing"

	v1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"

	"github.com/pintle-dev/pintle/plugins/workloads/control"
	"github.com/pintle-dev/pintle/plugins/workloads/control/controltest"
	"github.com/pintle-dev/pintle/plugins/workloads/volumes"
	"github.com/pintle-dev/pintle/sdk/storage"
)

const driver = "mem.example.com"

// memory is a storage that keeps volumes in memory, and all that finds it.
type memory struct {
	mu       sync.Mutex
	volumes  map[string]int64
	attached map[string]bool
	changed  []func()
	// away hides it; fail is what creation fails with.
	away bool
	fail error
	keys []string
	asks []storage.CreateVolumeRequest
}

func newMemory() *memory { return &memory{volumes: map[string]int64{}, attached: map[string]bool{}} }

func (m *memory) Changed(f func()) { m.changed = append(m.changed, f) }

func (m *memory) Find(_ context.Context, name string) (storage.Services, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if name != driver || m.away {
		return storage.Services{}, fmt.Errorf("%w: %s", volumes.ErrNoStorage, name)
	}
	return storage.Services{Driver: driver, TopologyKeys: m.keys, Provisioner: m, Expander: m, Attacher: m}, nil
}

func (m *memory) set(f func()) {
	m.mu.Lock()
	f()
	tell := m.changed
	m.mu.Unlock()
	for _, f := range tell {
		f()
	}
}

func (m *memory) CreateVolume(_ context.Context, r storage.CreateVolumeRequest) (*storage.Volume, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.asks = append(m.asks, r)
	if m.fail != nil {
		return nil, m.fail
	}
	m.volumes[r.Name] = r.CapacityBytes
	return &storage.Volume{Handle: r.Name, CapacityBytes: r.CapacityBytes, Context: map[string]string{"in": "memory"}, Topologies: r.Topologies}, nil
}

func (m *memory) DeleteVolume(_ context.Context, handle string, _ map[string]string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for at := range m.attached {
		if m.attached[at] && len(at) > len(handle) && at[:len(handle)] == handle {
			return storage.ErrInUse
		}
	}
	delete(m.volumes, handle)
	return nil
}

func (m *memory) ExpandVolume(_ context.Context, handle string, _ map[string]string, size int64) (int64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.fail != nil {
		return 0, m.fail
	}
	m.volumes[handle] = size
	return size, nil
}

func (m *memory) AttachVolume(_ context.Context, r storage.AttachVolumeRequest) (map[string]string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.fail != nil {
		return nil, m.fail
	}
	m.attached[r.Handle+"@"+r.Node] = true
	return map[string]string{"device": "/dev/" + r.Handle}, nil
}

func (m *memory) DetachVolume(_ context.Context, handle, node string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.attached, handle+"@"+node)
	return nil
}

func (m *memory) has(handle string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	_, ok := m.volumes[handle]
	return ok
}

func (m *memory) isAttached(handle, node string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.attached[handle+"@"+node]
}

func build(m *memory) controltest.Build {
	return controltest.All(
		controltest.One(func(k control.Kit) (*volumes.Binder, error) { return volumes.NewBinder(k, m) }),
		controltest.One(func(k control.Kit) (*volumes.Expander, error) { return volumes.NewExpander(k, m) }),
		controltest.One(func(k control.Kit) (*volumes.Attacher, error) { return volumes.NewAttacher(k, m) }),
		controltest.One(volumes.NewEphemeral),
	)
}

// versioned makes a fake client refuse writes of versions that are not the newest, as servers do.
// It must be called before anything is written.
func versioned(client *fake.Clientset) {
	var mu sync.Mutex
	n := 1000
	stamp := func(o metav1.Object) {
		n++
		o.SetResourceVersion(fmt.Sprint(n))
	}
	client.PrependReactor("create", "*", func(a clienttesting.Action) (bool, runtime.Object, error) {
		mu.Lock()
		defer mu.Unlock()
		if o, err := meta.Accessor(a.(clienttesting.CreateAction).GetObject()); err == nil {
			stamp(o)
			if o.GetUID() == "" {
				o.SetUID(types.UID(fmt.Sprintf("uid-%d", n)))
			}
		}
		return false, nil, nil
	})
	client.PrependReactor("update", "*", func(a clienttesting.Action) (bool, runtime.Object, error) {
		mu.Lock()
		defer mu.Unlock()
		u := a.(clienttesting.UpdateAction)
		o, err := meta.Accessor(u.GetObject())
		if err != nil {
			return true, nil, err
		}
		have, err := client.Tracker().Get(u.GetResource(), u.GetNamespace(), o.GetName())
		if err != nil {
			return true, nil, err
		}
		now, err := meta.Accessor(have)
		if err != nil {
			return true, nil, err
		}
		if now.GetResourceVersion() != o.GetResourceVersion() || now.GetUID() != o.GetUID() {
			return true, nil, apierrors.NewConflict(u.GetResource().GroupResource(), o.GetName(), fmt.Errorf("it is at version %s", now.GetResourceVersion()))
		}
		stamp(o)
		return true, u.GetObject(), client.Tracker().Update(u.GetResource(), u.GetObject(), u.GetNamespace())
	})
}

func gi(n int) v1.ResourceList {
	return v1.ResourceList{v1.ResourceStorage: resource.MustParse(fmt.Sprintf("%dGi", n))}
}

func class(name, provisioner string, change ...func(*storagev1.StorageClass)) *storagev1.StorageClass {
	immediate, del := storagev1.VolumeBindingImmediate, v1.PersistentVolumeReclaimDelete
	c := &storagev1.StorageClass{ObjectMeta: metav1.ObjectMeta{Name: name}, Provisioner: provisioner, VolumeBindingMode: &immediate, ReclaimPolicy: &del}
	for _, f := range change {
		f(c)
	}
	return c
}

func delayed(c *storagev1.StorageClass) {
	wait := storagev1.VolumeBindingWaitForFirstConsumer
	c.VolumeBindingMode = &wait
}

func isDefault(c *storagev1.StorageClass) {
	c.Annotations = map[string]string{"storageclass.kubernetes.io/is-default-class": "true"}
}

func claim(name string, size int, class string, change ...func(*v1.PersistentVolumeClaim)) *v1.PersistentVolumeClaim {
	c := &v1.PersistentVolumeClaim{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name, UID: types.UID("uid-" + name)},
		Spec: v1.PersistentVolumeClaimSpec{
			AccessModes: []v1.PersistentVolumeAccessMode{v1.ReadWriteOnce}, Resources: v1.VolumeResourceRequirements{Requests: gi(size)}, StorageClassName: &class,
		},
	}
	for _, f := range change {
		f(c)
	}
	return c
}

func volumeOf(name string, size int, class string, change ...func(*v1.PersistentVolume)) *v1.PersistentVolume {
	pv := &v1.PersistentVolume{
		ObjectMeta: metav1.ObjectMeta{Name: name, UID: types.UID("uid-" + name)},
		Spec: v1.PersistentVolumeSpec{
			AccessModes: []v1.PersistentVolumeAccessMode{v1.ReadWriteOnce}, Capacity: gi(size), StorageClassName: class,
			PersistentVolumeReclaimPolicy: v1.PersistentVolumeReclaimRetain,
			PersistentVolumeSource:        v1.PersistentVolumeSource{HostPath: &v1.HostPathVolumeSource{Path: "/srv/" + name}},
		},
	}
	for _, f := range change {
		f(pv)
	}
	return pv
}

func pod(name, node string, claims ...string) *v1.Pod {
	p := &v1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name, UID: types.UID("uid-" + name)}, Spec: v1.PodSpec{NodeName: node}}
	for _, c := range claims {
		p.Spec.Volumes = append(p.Spec.Volumes, v1.Volume{Name: c, VolumeSource: v1.VolumeSource{PersistentVolumeClaim: &v1.PersistentVolumeClaimVolumeSource{ClaimName: c}}})
	}
	return p
}

func node(name string) *v1.Node {
	return &v1.Node{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{v1.LabelHostname: name}}}
}

// run is controltest.Run over an API that refuses old versions.
func run(t *testing.T, m *memory, objects []runtime.Object, body func(e *controltest.Env)) {
	t.Helper()
	controltest.Run(t, nil, build(m), func(e *controltest.Env) {
		versioned(e.Client)
		for _, o := range objects {
			create(e, o)
		}
		e.SettleLate()
		body(e)
	})
}

func create(e *controltest.Env, o runtime.Object) {
	e.Helper()
	o = o.DeepCopyObject()
	var err error
	switch o := o.(type) {
	case *v1.PersistentVolumeClaim:
		o.Status.Phase = v1.ClaimPending
		_, err = e.Client.CoreV1().PersistentVolumeClaims(o.Namespace).Create(e.Ctx, o, metav1.CreateOptions{})
	case *v1.PersistentVolume:
		o.Status.Phase = v1.VolumePending
		_, err = e.Client.CoreV1().PersistentVolumes().Create(e.Ctx, o, metav1.CreateOptions{})
	case *storagev1.StorageClass:
		_, err = e.Client.StorageV1().StorageClasses().Create(e.Ctx, o, metav1.CreateOptions{})
	case *v1.Pod:
		_, err = e.Client.CoreV1().Pods(o.Namespace).Create(e.Ctx, o, metav1.CreateOptions{})
	case *v1.Node:
		_, err = e.Client.CoreV1().Nodes().Create(e.Ctx, o, metav1.CreateOptions{})
	default:
		err = fmt.Errorf("what is a %T", o)
	}
	if err != nil {
		e.Fatal(err)
	}
}

func getClaim(e *controltest.Env, name string) *v1.PersistentVolumeClaim {
	e.Helper()
	return controltest.Get(e, e.Client.CoreV1().PersistentVolumeClaims("default"), name)
}

func getVolume(e *controltest.Env, name string) *v1.PersistentVolume {
	e.Helper()
	return controltest.Get(e, e.Client.CoreV1().PersistentVolumes(), name)
}
