package bootstrap

import (
	_ "embed"
	"fmt"
	"strings"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"
)

//go:embed roles.yaml
var rolesYAML []byte

//go:embed controllers.yaml
var controllersYAML []byte

// policy is the form of the data files.
type policy struct {
	Roles    []roleData    `json:"roles"`
	Bindings []bindingData `json:"bindings"`
	// Controllers are cluster roles, each with a binding of the same name.
	Controllers []roleData `json:"controllers"`
}

type roleData struct {
	Name      string `json:"name"`
	Namespace string `json:"namespace"`
	// PartOf is the aggregated role that this one is part of.
	PartOf string `json:"partOf"`
	// Gathers makes an aggregated role of all that are part of it.
	Gathers string              `json:"gathers"`
	Rules   []rbacv1.PolicyRule `json:"rules"`
}

type bindingData struct {
	Name      string `json:"name"`
	Namespace string `json:"namespace"`
	Role      struct {
		Kind string `json:"kind"`
		Name string `json:"name"`
	} `json:"role"`
	Users  []string `json:"users"`
	Groups []string `json:"groups"`
	// ServiceAccounts are "namespace/name".
	ServiceAccounts []string `json:"serviceAccounts"`
}

const (
	aggregatePrefix    = "rbac.authorization.k8s.io/aggregate-to-"
	autoUpdate         = "rbac.authorization.kubernetes.io/autoupdate"
	bootstrappingLabel = "kubernetes.io/bootstrapping"
	controllerPrefix   = "system:controller:"
)

// Objects are the objects of the bootstrap policy.
type Objects struct {
	ClusterRoles        []*rbacv1.ClusterRole
	Roles               []*rbacv1.Role
	ClusterRoleBindings []*rbacv1.ClusterRoleBinding
	RoleBindings        []*rbacv1.RoleBinding
}

// Policy returns the bootstrap policy.
func Policy() (*Objects, error) {
	out := &Objects{}
	for _, data := range [][]byte{rolesYAML, controllersYAML} {
		var p policy
		if err := yaml.UnmarshalStrict(data, &p); err != nil {
			return nil, fmt.Errorf("bootstrap policy: %w", err)
		}
		for _, r := range p.Controllers {
			p.Roles = append(p.Roles, r)
			b := bindingData{Name: r.Name, ServiceAccounts: []string{"kube-system/" + strings.TrimPrefix(r.Name, controllerPrefix)}}
			b.Role.Kind, b.Role.Name = "ClusterRole", r.Name
			p.Bindings = append(p.Bindings, b)
		}
		for _, r := range p.Roles {
			out.addRole(r)
		}
		for _, b := range p.Bindings {
			if err := out.addBinding(b); err != nil {
				return nil, fmt.Errorf("bootstrap policy: %w", err)
			}
		}
	}
	return out, nil
}

func meta(namespace, name string) metav1.ObjectMeta {
	return metav1.ObjectMeta{
		Namespace: namespace, Name: name,
		Labels:      map[string]string{bootstrappingLabel: "rbac-defaults"},
		Annotations: map[string]string{autoUpdate: "true"},
	}
}

func (o *Objects) addRole(r roleData) {
	m := meta(r.Namespace, r.Name)
	if r.PartOf != "" {
		m.Labels[aggregatePrefix+r.PartOf] = "true"
	}
	if r.Namespace != "" {
		o.Roles = append(o.Roles, &rbacv1.Role{TypeMeta: typeMeta("Role"), ObjectMeta: m, Rules: r.Rules})
		return
	}
	role := &rbacv1.ClusterRole{TypeMeta: typeMeta("ClusterRole"), ObjectMeta: m, Rules: r.Rules}
	if r.Gathers != "" {
		role.AggregationRule = &rbacv1.AggregationRule{ClusterRoleSelectors: []metav1.LabelSelector{
			{MatchLabels: map[string]string{aggregatePrefix + r.Gathers: "true"}},
		}}
	}
	o.ClusterRoles = append(o.ClusterRoles, role)
}

func (o *Objects) addBinding(b bindingData) error {
	var subjects []rbacv1.Subject
	for _, name := range b.Users {
		subjects = append(subjects, rbacv1.Subject{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: name})
	}
	for _, name := range b.Groups {
		subjects = append(subjects, rbacv1.Subject{APIGroup: rbacv1.GroupName, Kind: rbacv1.GroupKind, Name: name})
	}
	for _, sa := range b.ServiceAccounts {
		namespace, name, ok := strings.Cut(sa, "/")
		if !ok {
			return fmt.Errorf("binding %s: service account %q is not namespace/name", b.Name, sa)
		}
		subjects = append(subjects, rbacv1.Subject{Kind: rbacv1.ServiceAccountKind, Namespace: namespace, Name: name})
	}
	ref := rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: b.Role.Kind, Name: b.Role.Name}
	m := meta(b.Namespace, b.Name)
	if b.Namespace != "" {
		o.RoleBindings = append(o.RoleBindings, &rbacv1.RoleBinding{TypeMeta: typeMeta("RoleBinding"), ObjectMeta: m, Subjects: subjects, RoleRef: ref})
		return nil
	}
	o.ClusterRoleBindings = append(o.ClusterRoleBindings, &rbacv1.ClusterRoleBinding{TypeMeta: typeMeta("ClusterRoleBinding"), ObjectMeta: m, Subjects: subjects, RoleRef: ref})
	return nil
}

func typeMeta(kind string) metav1.TypeMeta {
	return metav1.TypeMeta{APIVersion: rbacv1.SchemeGroupVersion.String(), Kind: kind}
}
