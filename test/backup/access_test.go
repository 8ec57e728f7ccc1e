package backup_test

import (
	"context"
	"io"
	"strings"
	"testing"

	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/pintle-dev/pintle/core/backup"
	"github.com/pintle-dev/pintle/test/process"
)

// A backup has all secrets, and its keys let one be anybody: who may not do that anyway gets
// neither.
func TestWhoMayMakeBackups(t *testing.T) {
	s := process.Start(t, process.Pintle(), bare)
	c := client(t, s)
	backups := rbacv1.PolicyRule{APIGroups: []string{backup.Group}, Resources: []string{backup.Resource}, Verbs: []string{"create"}}
	all := func(verbs ...string) rbacv1.PolicyRule {
		return rbacv1.PolicyRule{APIGroups: []string{"*"}, Resources: []string{"*"}, Verbs: verbs}
	}
	for name, rules := range map[string][]rbacv1.PolicyRule{
		"maker":  {backups, {APIGroups: []string{""}, Resources: []string{"secrets"}, Verbs: []string{"get", "list"}}},
		"lister": {all("get", "list", "watch")},
		"both":   {backups, all("get", "list", "watch")},
		"owner":  {all("*")},
	} {
		if _, err := c.RbacV1().ClusterRoles().Create(t.Context(), &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: name}, Rules: rules}, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
		if _, err := c.RbacV1().ClusterRoleBindings().Create(t.Context(), &rbacv1.ClusterRoleBinding{
			ObjectMeta: metav1.ObjectMeta{Name: name},
			RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: name},
			Subjects:   []rbacv1.Subject{{Kind: "User", APIGroup: rbacv1.GroupName, Name: name}},
		}, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	ask := func(user string, keys string) error {
		conf := config(t, s)
		conf.Impersonate = rest.ImpersonationConfig{UserName: user}
		c, err := kubernetes.NewForConfig(conf)
		if err != nil {
			t.Fatal(err)
		}
		in, err := c.CoreV1().RESTClient().Post().RequestURI(backup.Path + "?keys=" + keys).Stream(context.Background())
		if err != nil {
			return err
		}
		defer in.Close()
		r, err := backup.Open(in)
		if err != nil {
			return err
		}
		if r.Header().Keys != (keys == "true") {
			t.Errorf("%s asked for keys=%s and got %v", user, keys, r.Header().Keys)
		}
		_, err = r.Finish()
		return err
	}
	eventually(t, "the permissions hold", func() error { return ask("owner", "true") })
	for _, c := range []struct {
		user, keys string
		want       string
	}{
		{"nobody", "false", "cannot create resource"}, {"maker", "false", "list all resources"}, {"lister", "false", "cannot create resource"},
		{"both", "false", ""}, {"both", "true", "be anybody"}, {"owner", "false", ""}, {"owner", "true", ""},
	} {
		err := ask(c.user, c.keys)
		if c.want == "" && err != nil || c.want != "" && (!apierrors.IsForbidden(err) || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s with keys=%s: got error %v, want %q", c.user, c.keys, err, c.want)
		}
	}
	if err := ask("owner", "maybe"); !apierrors.IsBadRequest(err) {
		t.Errorf("keys=maybe: %v", err)
	}
	raw, err := client(t, s).CoreV1().RESTClient().Get().RequestURI(backup.Path).Stream(t.Context())
	if err == nil {
		b, _ := io.ReadAll(raw)
		t.Errorf("a GET answers %.100q", b)
	} else if !apierrors.IsMethodNotSupported(err) {
		t.Errorf("a GET: %v", err)
	}
}
