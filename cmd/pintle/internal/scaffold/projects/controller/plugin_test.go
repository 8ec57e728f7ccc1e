package main

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes/fake"

	"github.com/pintle-dev/pintle/sdk/controller"
	"github.com/pintle-dev/pintle/sdk/plugintest"
)

// The suite of plugintest holds the plugin to what every host relies on.
func TestControllerContract(t *testing.T) {
	plugintest.RunController(t, plugintest.ControllerCase{
		Case: plugintest.Case{BadSettings: map[string]string{
			`{"motto":""}`: "settings.motto", `{"mottos":"x"}`: "settings.mottos",
		}},
		New: func() controller.Controller { return &Plugin{} },
	})
}

func TestReconcile(t *testing.T) {
	client := fake.NewClientset(
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "enabled", UID: "1", Labels: map[string]string{enabledLabel: "true"}}},
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "other", UID: "2"}},
	)
	motto := func(r *reconciler, namespace string) string {
		t.Helper()
		if err := r.reconcile(t.Context(), types.NamespacedName{Name: namespace}); err != nil {
			t.Fatal(err)
		}
		have, err := client.CoreV1().ConfigMaps(namespace).Get(t.Context(), configMapName, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			return ""
		}
		if err != nil {
			t.Fatal(err)
		}
		return have.Data["motto"]
	}
	for _, tc := range []struct{ namespace, motto, want string }{
		{"enabled", "first", "first"},
		{"enabled", "second", "second"},
		{"other", "first", ""},
		{"gone", "first", ""},
	} {
		if got := motto(&reconciler{client: client, motto: tc.motto}, tc.namespace); got != tc.want {
			t.Errorf("%s with %q: got %q, want %q", tc.namespace, tc.motto, got, tc.want)
		}
	}
}
