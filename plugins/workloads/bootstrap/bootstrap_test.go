package bootstrap_test

import (
	"maps"
	"slices"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"

	"github.com/pintle-dev/pintle/plugins/workloads/bootstrap"
	"github.com/pintle-dev/pintle/plugins/workloads/control/controltest"
)

// TestSignature holds the form against what kubeadm's library makes of the same words.
func TestSignature(t *testing.T) {
	got, err := bootstrap.Sign("Hello from the other side. I must have called a thousand times.", "joshua", "my voice is my passcode")
	if err != nil || got != "eyJhbGciOiJIUzI1NiIsImtpZCI6Impvc2h1YSJ9..VShe2taLd-YTrmWuRkcL_8QTNDHYxQIEBsAYYiIj1_8" {
		t.Errorf("%s, %v", got, err)
	}
}

func token(id string, change ...func(*v1.Secret)) *v1.Secret {
	s := &v1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: "bootstrap-token-" + id, Namespace: "kube-system", UID: types.UID("uid-" + id)},
		Type:       "bootstrap.kubernetes.io/token",
		Data:       map[string][]byte{"token-id": []byte(id), "token-secret": []byte("0123456789abcdef"), "usage-bootstrap-signing": []byte("true")},
	}
	for _, c := range change {
		c(s)
	}
	return s
}

func expires(text string) func(*v1.Secret) {
	return func(s *v1.Secret) { s.Data["expiration"] = []byte(text) }
}

func TestCleaner(t *testing.T) {
	build := controltest.One(bootstrap.NewCleaner)
	elsewhere := token("elsewh", expires("1999-01-01T00:00:00Z"))
	elsewhere.Namespace = "default"
	objects := []runtime.Object{
		token("lastng"), token("past00", expires("1999-01-01T00:00:00Z")), token("broken", expires("soon")), elsewhere,
		// Virtual time begins with the year 2000.
		token("future", expires("2000-01-01T01:00:00Z")),
	}
	controltest.Run(t, objects, build, func(e *controltest.Env) {
		there := func(namespace, id string) bool {
			return controltest.There(e, e.Client.CoreV1().Secrets(namespace), "bootstrap-token-"+id)
		}
		if !there("kube-system", "lastng") || there("kube-system", "past00") || there("kube-system", "broken") || !there("kube-system", "future") || !there("default", "elsewh") {
			e.Error("the wrong tokens have gone")
		}
		e.Pass(time.Hour)
		if there("kube-system", "future") {
			e.Error("still there after it has expired")
		}
	})
}

func TestSigner(t *testing.T) {
	build := controltest.One(bootstrap.NewSigner)
	info := &v1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "cluster-info", Namespace: "kube-public"}, Data: map[string]string{"kubeconfig": "text", "jws-kubeconfig-oldone": "x"}}
	objects := []runtime.Object{
		info, token("aaaaaa"), token("bbbbbb", func(s *v1.Secret) { delete(s.Data, "usage-bootstrap-signing") }),
		token("cccccc", func(s *v1.Secret) { s.Data["token-id"] = []byte("dddddd") }),
		token("eeeeee", expires("1999-01-01T00:00:00Z")), token("ffffff", expires("2000-01-01T01:00:00Z")),
	}
	controltest.Run(t, objects, build, func(e *controltest.Env) {
		keys := func() []string {
			e.Pass(time.Second)
			got := controltest.Get(e, e.Client.CoreV1().ConfigMaps("kube-public"), "cluster-info")
			return slices.Sorted(maps.Keys(got.Data))
		}
		if got := keys(); !slices.Equal(got, []string{"jws-kubeconfig-aaaaaa", "jws-kubeconfig-ffffff", "kubeconfig"}) {
			e.Errorf("signed: %v", got)
		}
		time.Sleep(time.Hour)
		if got := keys(); !slices.Equal(got, []string{"jws-kubeconfig-aaaaaa", "kubeconfig"}) {
			e.Errorf("after one has expired: %v", got)
		}
		controltest.Create(e, e.Client.CoreV1().Secrets("kube-system"), token("gggggg"))
		if got := keys(); !slices.Equal(got, []string{"jws-kubeconfig-aaaaaa", "jws-kubeconfig-gggggg", "kubeconfig"}) {
			e.Errorf("with a new one: %v", got)
		}
	})
}
