package agent

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/tools/cache"
)

// orphanGrace is how long containers of pods that do not exist any more have to end.
const orphanGrace = 5 * time.Second

// watchPods follows the node's own pods and keeps a worker for each.
func (a *Agent) watchPods(ctx context.Context) {
	own := func(o *metav1.ListOptions) {
		o.FieldSelector = fields.OneTermEqualSelector("spec.nodeName", a.cfg.NodeName).String()
	}
	lw := &cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
			own(&o)
			return a.client.CoreV1().Pods("").List(ctx, o)
		},
		WatchFuncWithContext: func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
			own(&o)
			return a.client.CoreV1().Pods("").Watch(ctx, o)
		},
	}
	informer := cache.NewSharedIndexInformer(cache.ToListWatcherWithWatchListSemantics(lw, a.client), &corev1.Pod{}, 0, cache.Indexers{cache.NamespaceIndex: cache.MetaNamespaceIndexFunc})
	a.mu.Lock()
	a.pods = informer.GetIndexer()
	a.mu.Unlock()
	_, err := informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc: func(obj any) { a.podSeen(obj.(*corev1.Pod)) },
		UpdateFunc: func(old, obj any) {
			was, pod := old.(*corev1.Pod), obj.(*corev1.Pod)
			if was.UID != pod.UID {
				a.podGone(was.UID) // deleted and made anew between two looks
			}
			a.podSeen(pod)
		},
		DeleteFunc: func(obj any) {
			if d, ok := obj.(cache.DeletedFinalStateUnknown); ok {
				obj = d.Obj
			}
			if pod, ok := obj.(*corev1.Pod); ok {
				a.podGone(pod.UID)
			}
		},
	})
	if err != nil {
		a.log.Error("cannot watch pods", "err", err)
		return
	}
	a.wg.Go(func() {
		if cache.WaitForCacheSync(ctx.Done(), informer.HasSynced) {
			a.removeOrphans(ctx)
		}
	})
	informer.RunWithContext(ctx)
}

// podSeen tells the pod's worker of its newest state; a pod without one gets one.
func (a *Agent) podSeen(pod *corev1.Pod) {
	a.mu.Lock()
	w := a.workers[pod.UID]
	done := a.ended[pod.UID]
	if w == nil && !done {
		w = newWorker(a, pod)
		a.workers[pod.UID] = w
		a.mu.Unlock()
		a.objects.hold(pod)
		a.wg.Go(func() { a.work(w) })
		return
	}
	a.mu.Unlock()
	if w != nil {
		w.update(pod)
	}
}

func (a *Agent) work(w *worker) {
	w.run(a.runC)
	a.mu.Lock()
	delete(a.workers, w.uid)
	if a.runC.Err() == nil && !w.obs.Gone {
		a.ended[w.uid] = true // until its object goes
	}
	a.mu.Unlock()
	a.objects.release(w.uid)
}

func (a *Agent) podGone(uid types.UID) {
	a.mu.Lock()
	w := a.workers[uid]
	delete(a.ended, uid)
	a.mu.Unlock()
	if w != nil {
		w.gone()
	}
}

// runtimeChanged wakes the worker of a pod for which something happened.
func (a *Agent) runtimeChanged(uid types.UID) {
	a.mu.Lock()
	w := a.workers[uid]
	a.mu.Unlock()
	if w != nil {
		w.send(func() {})
	}
}

// removeOrphans ends what an earlier agent left of pods that are gone.
func (a *Agent) removeOrphans(ctx context.Context) {
	known := map[types.UID]bool{}
	for _, obj := range a.pods.List() {
		if p, ok := obj.(*corev1.Pod); ok {
			known[p.UID] = true
		}
	}
	left := map[types.UID][2]string{}
	for uid, sandboxes := range a.runtime.all() {
		if !known[uid] {
			left[uid] = [2]string{}
			for _, sb := range sandboxes {
				left[uid] = [2]string{sb.Namespace, sb.Name}
			}
		}
	}
	if uids, err := a.volumes.Pods(); err == nil {
		for _, u := range uids {
			if _, ok := left[types.UID(u)]; !ok && !known[types.UID(u)] {
				left[types.UID(u)] = [2]string{}
			}
		}
	}
	for uid, id := range left {
		a.wg.Go(func() {
			a.log.Info("removing what is left of a pod that is gone", "pod", id[0]+"/"+id[1], "uid", string(uid))
			var wg sync.WaitGroup
			for _, c := range a.runtime.containers(uid) {
				if running(&c) {
					wg.Go(func() {
						if err := a.cfg.Driver.StopContainer(ctx, c.ID, orphanGrace); err != nil {
							a.log.Warn("cannot stop a container of a pod that is gone", "container", c.ID, "err", err)
						}
					})
				}
			}
			wg.Wait()
			for delay := time.Second; ; delay = min(2*delay, time.Minute) {
				err := a.clean(ctx, uid, id[0], id[1])
				if err == nil || ctx.Err() != nil {
					return
				}
				a.log.Warn("cannot remove what is left of a pod", "uid", string(uid), "err", err)
				select {
				case <-time.After(delay):
				case <-ctx.Done():
					return
				}
			}
		})
	}
}

// watchNode follows the node's own object for its pod CIDRs.
func (a *Agent) watchNode(ctx context.Context) {
	own := func(o *metav1.ListOptions) {
		o.FieldSelector = fields.OneTermEqualSelector("metadata.name", a.cfg.NodeName).String()
	}
	_, informer := cache.NewInformerWithOptions(cache.InformerOptions{
		ListerWatcher: cache.ToListWatcherWithWatchListSemantics(&cache.ListWatch{
			ListWithContextFunc: func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
				own(&o)
				return a.client.CoreV1().Nodes().List(ctx, o)
			},
			WatchFuncWithContext: func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
				own(&o)
				return a.client.CoreV1().Nodes().Watch(ctx, o)
			},
		}, a.client),
		ObjectType: &corev1.Node{},
		Handler: cache.ResourceEventHandlerFuncs{
			AddFunc:    func(obj any) { a.network.setNode(obj.(*corev1.Node)) },
			UpdateFunc: func(_, obj any) { a.network.setNode(obj.(*corev1.Node)) },
			DeleteFunc: func(any) { a.node.poke() },
		},
	})
	informer.RunWithContext(ctx)
}

// refreshVolumes brings volumes of pods up to date after an object has changed.
func (a *Agent) refreshVolumes(uids []types.UID) {
	for _, uid := range uids {
		a.mu.Lock()
		w := a.workers[uid]
		a.mu.Unlock()
		if w != nil {
			w.send(w.refreshVolumes)
		}
	}
}

// refreshAllVolumes does so from time to time for what no watch tells, as are tokens and
// labels.
func (a *Agent) refreshAllVolumes(ctx context.Context) {
	for {
		wait := time.Minute + time.Duration(rand.Int64N(int64(10*time.Second)))
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
		a.mu.Lock()
		uids := make([]types.UID, 0, len(a.workers))
		for uid := range a.workers {
			uids = append(uids, uid)
		}
		a.mu.Unlock()
		a.refreshVolumes(uids)
	}
}

// opVolumes is the key of bringing volumes up to date, no container's name.
const opVolumes = "/volumes"

// refreshVolumes runs in the loop.
func (w *worker) refreshVolumes() {
	// A failed start may have waited for just this.
	for k, f := range w.obs.Failed {
		if k != opSandbox && (f.Reason == "CreateContainerConfigError" || f.Reason == "ContainerCreating") {
			delete(w.obs.Failed, k)
		}
	}
	if w.ending() || w.ops[opVolumes] != nil || len(w.pod.Spec.Volumes) == 0 {
		return
	}
	live := false
	for i := range w.obs.Containers {
		live = live || running(&w.obs.Containers[i])
	}
	if !live {
		return
	}
	pod, facts := w.pod, w.facts()
	ctx, cancel := context.WithCancel(w.ctx)
	w.ops[opVolumes] = &op{cancel: cancel}
	w.a.wg.Go(func() {
		defer cancel()
		if _, err := w.setupVolumes(ctx, pod, facts.podIPs); err != nil && ctx.Err() == nil {
			w.log.Warn("cannot bring volumes up to date", "err", err)
		}
		w.send(func() { delete(w.ops, opVolumes) })
	})
}

// keyedLocks is a lock per pod.
type keyedLocks struct {
	mu    sync.Mutex
	locks map[types.UID]*countedLock
}

type countedLock struct {
	sync.Mutex
	users int
}

func (k *keyedLocks) lock(uid types.UID) {
	k.mu.Lock()
	if k.locks == nil {
		k.locks = map[types.UID]*countedLock{}
	}
	l := k.locks[uid]
	if l == nil {
		l = &countedLock{}
		k.locks[uid] = l
	}
	l.users++
	k.mu.Unlock()
	l.Lock()
}

func (k *keyedLocks) unlock(uid types.UID) {
	k.mu.Lock()
	defer k.mu.Unlock()
	l := k.locks[uid]
	if l.users--; l.users == 0 {
		delete(k.locks, uid)
	}
	l.Unlock()
}
