package controlplane

import (
	"context"
	"crypto/rand"
	"fmt"
	"net"
	"net/netip"
	"strconv"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/pintle-dev/pintle/cmd/pintle/internal/config"
	"github.com/pintle-dev/pintle/cmd/pintle/internal/firstparty"
	"github.com/pintle-dev/pintle/core/auth"
	"github.com/pintle-dev/pintle/core/auth/rbac/bootstrap"
	"github.com/pintle-dev/pintle/core/host"
	"github.com/pintle-dev/pintle/sdk/resource"
)

// PluginHostsGroup is the group of the plugin hosts on nodes.
const PluginHostsGroup = "system:plugin-hosts"

// loopback returns the server's own way to its API, as a member of system:masters, and
// the function that ends it.
func (s *Server) loopback() (*rest.Config, func(), error) {
	token := rand.Text()
	s.tokens.Register(token, resource.User{
		Name: "system:apiserver", Groups: []string{auth.MastersGroup, auth.AuthenticatedGroup},
	})
	socket := s.dir.APISocket()
	return &rest.Config{
		Host: "http://pintle", BearerToken: token, QPS: 1000, Burst: 2000, UserAgent: "pintle-server",
		WarningHandler: rest.NoWarnings{}, // what this server says to itself is no news to its operator
		Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "unix", socket)
		},
	}, func() { s.tokens.Revoke(token) }, nil
}

// bootstrap writes the objects that every cluster has.
func (s *Server) bootstrap(ctx context.Context, admin *rest.Config) error {
	dyn, err := dynamic.NewForConfig(admin)
	if err != nil {
		return fmt.Errorf("client: %w", err)
	}
	if err := bootstrap.Ensure(ctx, dyn); err != nil {
		return err
	}
	client, err := kubernetes.NewForConfig(admin)
	if err != nil {
		return fmt.Errorf("client: %w", err)
	}
	if err := ensureAPIService(ctx, client, s.cfg.API); err != nil {
		return err
	}
	if err := s.writeEndpoints(ctx, client); err != nil {
		return err
	}
	if err := ensurePriorityClasses(ctx, client); err != nil {
		return err
	}
	if err := s.ensureAuthenticationInfo(ctx, client); err != nil {
		return err
	}
	for _, p := range append(nodePermissions(s.cfg.Plugins), joiningPermission(), serversPermission()) {
		if err := ensureRole(ctx, client, p); err != nil {
			return err
		}
	}
	return nil
}

// permission is a cluster role and whom it is bound to.
type permission struct {
	role    string
	rules   []rbacv1.PolicyRule
	subject rbacv1.Subject
}

// nodePermissions are those of the plugin hosts on nodes and of the plugins they run: a
// host on a node must not be able to grant anything, so the server does.
func nodePermissions(plugins []config.Plugin) []permission {
	out := []permission{{
		role:    "pintle:plugin-host",
		subject: rbacv1.Subject{Kind: rbacv1.GroupKind, APIGroup: rbacv1.GroupName, Name: PluginHostsGroup},
		rules: []rbacv1.PolicyRule{{
			APIGroups: []string{host.Group}, Resources: []string{"plugins", "plugins/status"},
			Verbs: []string{"get", "list", "watch", "create", "update", "patch", "delete"},
		}, {
			APIGroups: []string{""}, Resources: []string{"events"}, Verbs: []string{"create", "update", "patch"},
		}},
	}}
	for _, p := range plugins {
		if p.ThirdParty() || p.Disabled || !firstparty.NodeScoped(p.Name) {
			continue
		}
		impl, err := firstparty.New(p.Name)
		if err != nil {
			continue // Specs says so with its index
		}
		out = append(out, permission{
			role: "pintle:plugin:" + p.Name, rules: impl.Info().Permissions,
			subject: rbacv1.Subject{Kind: rbacv1.UserKind, APIGroup: rbacv1.GroupName, Name: host.Identity(p.Name).Name},
		})
	}
	return out
}

func ensureRole(ctx context.Context, client kubernetes.Interface, p permission) error {
	roles, bindings := client.RbacV1().ClusterRoles(), client.RbacV1().ClusterRoleBindings()
	want := &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: p.role}, Rules: p.rules}
	if _, err := roles.Create(ctx, want, metav1.CreateOptions{}); apierrors.IsAlreadyExists(err) {
		if _, err := roles.Update(ctx, want, metav1.UpdateOptions{}); err != nil {
			return fmt.Errorf("cluster role %s: %w", p.role, err)
		}
	} else if err != nil {
		return fmt.Errorf("cluster role %s: %w", p.role, err)
	}
	_, err := bindings.Create(ctx, &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: p.role},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: p.role},
		Subjects:   []rbacv1.Subject{p.subject},
	}, metav1.CreateOptions{})
	if err != nil && !apierrors.IsAlreadyExists(err) {
		return fmt.Errorf("cluster role binding %s: %w", p.role, err)
	}
	return nil
}

// ensureAPIService keeps the service "kubernetes" in the default namespace, by which pods
// and the conformance suite find the API, and the range that cluster IPs come from.
func ensureAPIService(ctx context.Context, client kubernetes.Interface, api config.API) error {
	prefix, err := netip.ParsePrefix(api.ServiceCIDR)
	if err != nil {
		return fmt.Errorf("api.serviceCIDR: %w", err)
	}
	_, portPart, err := net.SplitHostPort(api.Address())
	if err != nil {
		return fmt.Errorf("api.listen: %w", err)
	}
	port, err := strconv.Atoi(portPart)
	if err != nil {
		return fmt.Errorf("api.listen: port %q: %w", portPart, err)
	}
	labels := map[string]string{"component": "apiserver", "provider": "kubernetes"}
	if err := ensureService(ctx, client, &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: "kubernetes", Labels: labels},
		Spec: corev1.ServiceSpec{
			Type: corev1.ServiceTypeClusterIP, ClusterIP: prefix.Addr().Next().String(),
			Ports: []corev1.ServicePort{{Name: "https", Port: 443, Protocol: corev1.ProtocolTCP, TargetPort: intstr.FromInt(port)}},
		},
	}); err != nil {
		return fmt.Errorf("service kubernetes: %w", err)
	}
	_, err = client.NetworkingV1().ServiceCIDRs().Create(ctx, &networkingv1.ServiceCIDR{
		ObjectMeta: metav1.ObjectMeta{Name: "kubernetes"},
		Spec:       networkingv1.ServiceCIDRSpec{CIDRs: []string{api.ServiceCIDR}},
	}, metav1.CreateOptions{})
	if err != nil && !apierrors.IsAlreadyExists(err) {
		return fmt.Errorf("service range kubernetes: %w", err)
	}
	return nil
}

// ensureService creates the service where it is missing.
func ensureService(ctx context.Context, client kubernetes.Interface, want *corev1.Service) error {
	services := client.CoreV1().Services(metav1.NamespaceDefault)
	_, err := services.Get(ctx, want.Name, metav1.GetOptions{})
	if !apierrors.IsNotFound(err) {
		return err //nolint:wrapcheck // the caller names the service
	}
	_, err = services.Create(ctx, want, metav1.CreateOptions{})
	if apierrors.IsInvalid(err) {
		// A server that was killed between the two writes has left the address without its
		// service.
		addresses := client.NetworkingV1().IPAddresses()
		left, getErr := addresses.Get(ctx, want.Spec.ClusterIP, metav1.GetOptions{})
		if ref := left.Spec.ParentRef; getErr != nil || ref == nil || ref.Resource != "services" || ref.Namespace != metav1.NamespaceDefault || ref.Name != want.Name {
			return err //nolint:wrapcheck // as above
		}
		if err := addresses.Delete(ctx, left.Name, metav1.DeleteOptions{Preconditions: metav1.NewUIDPreconditions(string(left.UID))}); err != nil {
			return fmt.Errorf("address %s without its service: %w", left.Name, err)
		}
		_, err = services.Create(ctx, want, metav1.CreateOptions{})
	}
	if apierrors.IsAlreadyExists(err) {
		return nil
	}
	return err //nolint:wrapcheck // as above
}
