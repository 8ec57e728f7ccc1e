package host

import (
	"context"
	"fmt"

	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	rbacclient "k8s.io/client-go/kubernetes/typed/rbac/v1"
	"k8s.io/client-go/rest"
)

type policyRule = rbacv1.PolicyRule

// EnsurePermissions makes rules the permissions of the named plugin's identity: a
// ClusterRole and a ClusterRoleBinding, both named "pintle:plugin:NAME". The client must
// be allowed to grant them.
func EnsurePermissions(ctx context.Context, config *rest.Config, plugin string, rules []rbacv1.PolicyRule) error {
	client, err := rbacclient.NewForConfig(config)
	if err != nil {
		return fmt.Errorf("permissions of plugin %s: %w", plugin, err)
	}
	name := "pintle:plugin:" + plugin
	meta := metav1.ObjectMeta{Name: name, Labels: map[string]string{labelPlugin: plugin}}
	if err := ensureRole(ctx, client, &rbacv1.ClusterRole{ObjectMeta: meta, Rules: rules}); err != nil {
		return fmt.Errorf("cluster role %s: %w", name, err)
	}
	binding := &rbacv1.ClusterRoleBinding{
		ObjectMeta: meta,
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: name},
		Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: userName(plugin)}},
	}
	if err := ensureBinding(ctx, client, binding); err != nil {
		return fmt.Errorf("cluster role binding %s: %w", name, err)
	}
	return nil
}

// RemovePermissions takes all permissions from the identity of a plugin that is no more.
func RemovePermissions(ctx context.Context, config *rest.Config, plugin string) error {
	client, err := rbacclient.NewForConfig(config)
	if err != nil {
		return fmt.Errorf("permissions of plugin %s: %w", plugin, err)
	}
	name := "pintle:plugin:" + plugin
	err = client.ClusterRoleBindings().Delete(ctx, name, metav1.DeleteOptions{})
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("cluster role binding %s: %w", name, err)
	}
	err = client.ClusterRoles().Delete(ctx, name, metav1.DeleteOptions{})
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("cluster role %s: %w", name, err)
	}
	return nil
}

func ensureRole(ctx context.Context, client rbacclient.ClusterRolesGetter, want *rbacv1.ClusterRole) error {
	have, err := client.ClusterRoles().Get(ctx, want.Name, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		_, err = client.ClusterRoles().Create(ctx, want, metav1.CreateOptions{})
		return err
	case err != nil:
		return err
	case equality.Semantic.DeepEqual(have.Rules, want.Rules):
		return nil
	}
	have = have.DeepCopy()
	have.Rules = want.Rules
	_, err = client.ClusterRoles().Update(ctx, have, metav1.UpdateOptions{})
	return err
}

func ensureBinding(ctx context.Context, client rbacclient.ClusterRoleBindingsGetter, want *rbacv1.ClusterRoleBinding) error {
	have, err := client.ClusterRoleBindings().Get(ctx, want.Name, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		_, err = client.ClusterRoleBindings().Create(ctx, want, metav1.CreateOptions{})
		return err
	case err != nil:
		return err
	case equality.Semantic.DeepEqual(have.Subjects, want.Subjects):
		return nil
	}
	have = have.DeepCopy()
	have.Subjects = want.Subjects
	_, err = client.ClusterRoleBindings().Update(ctx, have, metav1.UpdateOptions{})
	return err
}
