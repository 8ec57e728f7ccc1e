package agent

import (
	"context"
	"fmt"
	"sync"
	"time"

	authv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
)

// objects has the ConfigMaps and Secrets that pods of this node refer to. Each object is
// fetched when it is first asked for and then watched by itself, which is all that a
// node is allowed to see, until no pod refers to it any more.
type objects struct {
	client kubernetes.Interface
	// changed is told the pods that refer to an object that has changed.
	changed func(uids []types.UID)

	mu   sync.Mutex
	ctx  context.Context
	held map[objectKey]*heldObject
}

type objectKey struct{ kind, namespace, name string }

type heldObject struct {
	users  map[types.UID]bool
	cancel context.CancelFunc
	// fresh is closed when the watch has delivered what there is.
	obj    runtime.Object
	synced bool
}

func newObjects(client kubernetes.Interface, changed func([]types.UID)) *objects {
	return &objects{client: client, changed: changed, held: map[objectKey]*heldObject{}}
}

// start lets watches begin; they end with the context.
func (o *objects) start(ctx context.Context) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.ctx = ctx
}

// references lists what a pod refers to.
func references(pod *corev1.Pod) map[objectKey]bool {
	out := map[objectKey]bool{}
	add := func(kind, name string) {
		if name != "" {
			out[objectKey{kind, pod.Namespace, name}] = true
		}
	}
	for _, s := range pod.Spec.ImagePullSecrets {
		add("Secret", s.Name)
	}
	for _, v := range pod.Spec.Volumes {
		if v.ConfigMap != nil {
			add("ConfigMap", v.ConfigMap.Name)
		}
		if v.Secret != nil {
			add("Secret", v.Secret.SecretName)
		}
		if v.Projected != nil {
			for _, s := range v.Projected.Sources {
				if s.ConfigMap != nil {
					add("ConfigMap", s.ConfigMap.Name)
				}
				if s.Secret != nil {
					add("Secret", s.Secret.Name)
				}
			}
		}
	}
	for _, list := range [][]corev1.Container{pod.Spec.InitContainers, pod.Spec.Containers} {
		for _, c := range list {
			for _, e := range c.EnvFrom {
				if e.ConfigMapRef != nil {
					add("ConfigMap", e.ConfigMapRef.Name)
				}
				if e.SecretRef != nil {
					add("Secret", e.SecretRef.Name)
				}
			}
			for _, e := range c.Env {
				if e.ValueFrom == nil {
					continue
				}
				if r := e.ValueFrom.ConfigMapKeyRef; r != nil {
					add("ConfigMap", r.Name)
				}
				if r := e.ValueFrom.SecretKeyRef; r != nil {
					add("Secret", r.Name)
				}
			}
		}
	}
	return out
}

// hold watches what a pod refers to until it is released.
func (o *objects) hold(pod *corev1.Pod) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for key := range references(pod) {
		h := o.held[key]
		if h == nil {
			h = &heldObject{users: map[types.UID]bool{}}
			o.held[key] = h
			if o.ctx != nil {
				ctx, cancel := context.WithCancel(o.ctx)
				h.cancel = cancel
				go o.watch(ctx, key, h)
			}
		}
		h.users[pod.UID] = true
	}
}

func (o *objects) release(uid types.UID) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for key, h := range o.held {
		if delete(h.users, uid); len(h.users) == 0 {
			if h.cancel != nil {
				h.cancel()
			}
			delete(o.held, key)
		}
	}
}

// watch keeps one object up to date.
func (o *objects) watch(ctx context.Context, key objectKey, h *heldObject) {
	only := func(opts *metav1.ListOptions) {
		opts.FieldSelector = fields.OneTermEqualSelector("metadata.name", key.name).String()
	}
	lw := &cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, opts metav1.ListOptions) (runtime.Object, error) {
			only(&opts)
			if key.kind == "Secret" {
				return o.client.CoreV1().Secrets(key.namespace).List(ctx, opts)
			}
			return o.client.CoreV1().ConfigMaps(key.namespace).List(ctx, opts)
		},
		WatchFuncWithContext: func(ctx context.Context, opts metav1.ListOptions) (watch.Interface, error) {
			only(&opts)
			if key.kind == "Secret" {
				return o.client.CoreV1().Secrets(key.namespace).Watch(ctx, opts)
			}
			return o.client.CoreV1().ConfigMaps(key.namespace).Watch(ctx, opts)
		},
	}
	var typ runtime.Object = &corev1.ConfigMap{}
	if key.kind == "Secret" {
		typ = &corev1.Secret{}
	}
	set := func(obj any, gone bool) {
		ro, ok := obj.(runtime.Object)
		if !ok && !gone {
			return
		}
		o.mu.Lock()
		h.obj, h.synced = ro, true
		if gone {
			h.obj = nil
		}
		uids := make([]types.UID, 0, len(h.users))
		for u := range h.users {
			uids = append(uids, u)
		}
		o.mu.Unlock()
		o.changed(uids)
	}
	_, informer := cache.NewInformerWithOptions(cache.InformerOptions{
		ListerWatcher: cache.ToListWatcherWithWatchListSemantics(lw, o.client), ObjectType: typ,
		Handler: cache.ResourceEventHandlerFuncs{
			AddFunc:    func(obj any) { set(obj, false) },
			UpdateFunc: func(_, obj any) { set(obj, false) },
			DeleteFunc: func(any) { set(nil, true) },
		},
	})
	informer.RunWithContext(ctx)
}

// known returns an object that is watched and known to be there.
func (o *objects) known(key objectKey) runtime.Object {
	o.mu.Lock()
	defer o.mu.Unlock()
	if h := o.held[key]; h != nil && h.synced {
		return h.obj
	}
	return nil
}

// ConfigMap implements volume.Source.
func (o *objects) ConfigMap(ctx context.Context, namespace, name string) (*corev1.ConfigMap, error) {
	if cm, ok := o.known(objectKey{"ConfigMap", namespace, name}).(*corev1.ConfigMap); ok {
		return cm, nil
	}
	cm, err := o.client.CoreV1().ConfigMaps(namespace).Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return nil, err
	}
	return cm, nil
}

// Secret implements volume.Source.
func (o *objects) Secret(ctx context.Context, namespace, name string) (*corev1.Secret, error) {
	if s, ok := o.known(objectKey{"Secret", namespace, name}).(*corev1.Secret); ok {
		return s, nil
	}
	s, err := o.client.CoreV1().Secrets(namespace).Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return nil, err
	}
	return s, nil
}

// Claim implements volume.Claims.
func (o *objects) Claim(ctx context.Context, namespace, name string) (*corev1.PersistentVolumeClaim, error) {
	return o.client.CoreV1().PersistentVolumeClaims(namespace).Get(ctx, name, metav1.GetOptions{})
}

// PersistentVolume implements volume.Claims.
func (o *objects) PersistentVolume(ctx context.Context, name string) (*corev1.PersistentVolume, error) {
	return o.client.CoreV1().PersistentVolumes().Get(ctx, name, metav1.GetOptions{})
}

// Attachment implements volume.Claims.
func (o *objects) Attachment(ctx context.Context, name string) (*storagev1.VolumeAttachment, error) {
	return o.client.StorageV1().VolumeAttachments().Get(ctx, name, metav1.GetOptions{})
}

// Token implements volume.Source.
func (o *objects) Token(ctx context.Context, pod *corev1.Pod, spec authv1.TokenRequestSpec) (authv1.TokenRequestStatus, error) {
	sa := pod.Spec.ServiceAccountName
	if sa == "" {
		sa = "default"
	}
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	tr, err := o.client.CoreV1().ServiceAccounts(pod.Namespace).CreateToken(ctx, sa, &authv1.TokenRequest{Spec: spec}, metav1.CreateOptions{})
	if err != nil {
		return authv1.TokenRequestStatus{}, fmt.Errorf("service account %s/%s: %w", pod.Namespace, sa, err)
	}
	return tr.Status, nil
}
