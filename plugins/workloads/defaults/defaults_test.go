package defaults_test

import (
	"testing"

	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/pintle-dev/pintle/plugins/workloads/control"
	"github.com/pintle-dev/pintle/plugins/workloads/control/controltest"
	"github.com/pintle-dev/pintle/plugins/workloads/defaults"
)

var build = controltest.All(controltest.One(defaults.NewServiceAccounts), controltest.One(func(kit control.Kit) (*defaults.Controller, error) {
	return defaults.NewRootCA(kit, "PEM")
}))

func namespace(name string, phase v1.NamespacePhase) *v1.Namespace {
	return &v1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}, Status: v1.NamespaceStatus{Phase: phase}}
}

func TestEveryNamespaceHasItsDefaults(t *testing.T) {
	objects := []runtime.Object{namespace("old", v1.NamespaceActive), namespace("going", v1.NamespaceTerminating)}
	controltest.Run(t, objects, build, func(e *controltest.Env) {
		controltest.Create(e, e.Client.CoreV1().Namespaces(), namespace("new", ""))
		e.Settle()
		for _, ns := range []string{"old", "new"} {
			if _, err := e.Client.CoreV1().ServiceAccounts(ns).Get(e.Ctx, "default", metav1.GetOptions{}); err != nil {
				e.Error(err)
			}
			cm, err := e.Client.CoreV1().ConfigMaps(ns).Get(e.Ctx, "kube-root-ca.crt", metav1.GetOptions{})
			if err != nil || cm.Data["ca.crt"] != "PEM" {
				e.Errorf("%v %v", cm, err)
			}
		}
		if _, err := e.Client.CoreV1().ServiceAccounts("going").Get(e.Ctx, "default", metav1.GetOptions{}); !apierrors.IsNotFound(err) {
			e.Errorf("in a namespace that is being deleted: %v", err)
		}
	})
}

func TestDefaultsComeBack(t *testing.T) {
	controltest.Run(t, []runtime.Object{namespace("n", v1.NamespaceActive)}, build, func(e *controltest.Env) {
		controltest.Delete(e, e.Client.CoreV1().ServiceAccounts("n"), "default")
		cm := controltest.Get(e, e.Client.CoreV1().ConfigMaps("n"), "kube-root-ca.crt")
		cm.Data["ca.crt"] = "forged"
		controltest.Update(e, e.Client.CoreV1().ConfigMaps("n"), cm)
		e.Settle()
		if _, err := e.Client.CoreV1().ServiceAccounts("n").Get(e.Ctx, "default", metav1.GetOptions{}); err != nil {
			e.Error(err)
		}
		if cm, err := e.Client.CoreV1().ConfigMaps("n").Get(e.Ctx, "kube-root-ca.crt", metav1.GetOptions{}); err != nil || cm.Data["ca.crt"] != "PEM" {
			e.Errorf("%v %v", cm, err)
		}
	})
}
