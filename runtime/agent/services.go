package agent

import (
	"context"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
)

// services knows the cluster's services, for the variables that tell containers of them.
type services struct {
	store    cache.Store
	informer cache.Controller
}

func newServices(client kubernetes.Interface) *services {
	s := &services{}
	s.store, s.informer = cache.NewInformerWithOptions(cache.InformerOptions{
		ListerWatcher: cache.ToListWatcherWithWatchListSemantics(&cache.ListWatch{
			ListWithContextFunc: func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
				return client.CoreV1().Services("").List(ctx, o)
			},
			WatchFuncWithContext: func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
				return client.CoreV1().Services("").Watch(ctx, o)
			},
		}, client),
		ObjectType: &corev1.Service{}, Handler: cache.ResourceEventHandlerFuncs{},
		// Only what the variables are made of is kept.
		Transform: func(obj any) (any, error) {
			if s, ok := obj.(*corev1.Service); ok {
				return &corev1.Service{
					ObjectMeta: metav1.ObjectMeta{Namespace: s.Namespace, Name: s.Name, UID: s.UID, ResourceVersion: s.ResourceVersion},
					Spec:       corev1.ServiceSpec{ClusterIP: s.Spec.ClusterIP, Ports: s.Spec.Ports},
				}, nil
			}
			return obj, nil
		},
	})
	return s
}

// wait gives the first list a moment: a container that is told of no services is worse
// than one that starts a little later, but better than none.
func (s *services) wait(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	cache.WaitForCacheSync(ctx.Done(), s.informer.HasSynced)
}

// env makes the variables for the services of a namespace (with links) and for the API
// server (always).
func (s *services) env(namespace string, links bool) map[string]string {
	out := map[string]string{}
	for _, obj := range s.store.List() {
		svc, ok := obj.(*corev1.Service)
		if !ok || svc.Spec.ClusterIP == "" || svc.Spec.ClusterIP == corev1.ClusterIPNone || len(svc.Spec.Ports) == 0 {
			continue
		}
		master := svc.Namespace == metav1.NamespaceDefault && svc.Name == "kubernetes"
		if master || links && svc.Namespace == namespace {
			serviceEnv(svc, out)
		}
	}
	return out
}

func serviceEnv(svc *corev1.Service, out map[string]string) {
	prefix := strings.ToUpper(strings.ReplaceAll(svc.Name, "-", "_"))
	ip := svc.Spec.ClusterIP
	out[prefix+"_SERVICE_HOST"] = ip
	out[prefix+"_SERVICE_PORT"] = strconv.Itoa(int(svc.Spec.Ports[0].Port))
	for i, p := range svc.Spec.Ports {
		port := strconv.Itoa(int(p.Port))
		if p.Name != "" {
			out[prefix+"_SERVICE_PORT_"+strings.ToUpper(strings.ReplaceAll(p.Name, "-", "_"))] = port
		}
		proto := string(p.Protocol)
		if proto == "" {
			proto = "TCP"
		}
		url := strings.ToLower(proto) + "://" + net.JoinHostPort(ip, port)
		if i == 0 {
			out[prefix+"_PORT"] = url
		}
		base := fmt.Sprintf("%s_PORT_%s_%s", prefix, port, strings.ToUpper(proto))
		out[base] = url
		out[base+"_PROTO"] = strings.ToLower(proto)
		out[base+"_PORT"] = port
		out[base+"_ADDR"] = ip
	}
}
