package host

import (
	"context"
	"fmt"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/pintle-dev/pintle/crd"
	"github.com/pintle-dev/pintle/sdk/resource"
)

// RemovalAnnotation of a Plugin object says what becomes of the objects of the plugin's types
// when it is deleted: Purge or Orphan. Without it, a plugin whose types have objects can't be
// deleted.
const RemovalAnnotation = Group + "/removal"

// The values of RemovalAnnotation.
const (
	// RemovalPurge deletes the objects first.
	RemovalPurge = "Purge"
	// RemovalOrphan leaves them in the store, where they are served again when a plugin
	// brings the types back.
	RemovalOrphan = "Orphan"
)

// Finalizer keeps a Plugin object until its types are dealt with.
const Finalizer = Group + "/types"

// NodeHosts is how hosts on nodes are known to the API server: by their group, and by users
// named UserPrefix and the node's name.
type NodeHosts struct {
	Group, UserPrefix string
}

// Types serves the Plugin type: it says what is wrong with objects when they are written.
type Types struct {
	// Authorize says whether a user may do something. Rules of permissions are granted by
	// those who may escalate cluster roles.
	Authorize func(ctx context.Context, user resource.User, verb, group, resource, namespace, name string) (bool, error)
	// Count objects of a type.
	Count func(context.Context, schema.GroupResource) (int, error)
	Nodes NodeHosts
	// Configured are the plugins of the configuration, here and on nodes: objects can't wish
	// for others of their names.
	Configured []string
}

var (
	_ resource.Bundle    = (*Types)(nil)
	_ resource.Validator = (*pluginHooks)(nil)
	_ resource.Admitter  = (*pluginHooks)(nil)
	_ resource.Deleter   = (*pluginHooks)(nil)
)

// Definitions implements resource.Bundle.
func (t *Types) Definitions() ([]*crd.Definition, error) { return Definitions(), nil }

// Hooks implements resource.Bundle.
func (t *Types) Hooks(gr schema.GroupResource) any {
	if gr != Resource().GroupResource() {
		return nil
	}
	return &pluginHooks{t}
}

type pluginHooks struct{ *Types }

// Admit implements resource.Admitter: hosts on nodes write only what they keep themselves, and
// who grants permissions must be allowed to.
func (h *pluginHooks) Admit(ctx context.Context, r *resource.Request) error {
	if err := h.restrictNodes(r, r.Object); err != nil {
		return err
	}
	if err := h.mayReadSettings(ctx, r); err != nil {
		return err
	}
	granting := granting(r)
	if _, kept := lookup(r.Object, "metadata", "labels", labelHost).(string); kept {
		return nil // what a host keeps is carried out by nobody
	}
	if h.Authorize == nil || granting == "" {
		return nil
	}
	ok, err := h.Authorize(ctx, r.User, "escalate", "rbac.authorization.k8s.io", "clusterroles", "", "")
	if err != nil {
		return fmt.Errorf("spec.%s: %w", granting, err)
	}
	if !ok {
		return apierrors.NewForbidden(Resource().GroupResource(), r.Name,
			field.Forbidden(field.NewPath("spec", granting), fmt.Sprintf("user %q may not grant "+granting+" to plugins: the verb \"escalate\" on clusterroles.rbac.authorization.k8s.io is needed", r.User.Name)))
	}
	return nil
}

// restrictNodes lets a host on a node write the objects that say how plugins are on that
// node, and nothing else: a wish would be carried out everywhere.
func (h *pluginHooks) restrictNodes(r *resource.Request, object map[string]any) error {
	if h.Nodes.Group == "" || !slices.Contains(r.User.Groups, h.Nodes.Group) {
		return nil
	}
	node := strings.TrimPrefix(r.User.Name, h.Nodes.UserPrefix)
	label, _ := lookup(object, "metadata", "labels", labelHost).(string)
	if node != "" && node != r.User.Name && label == ownerOf(node) && strings.HasSuffix(r.Name, "."+node) {
		return nil
	}
	return apierrors.NewForbidden(Resource().GroupResource(), r.Name,
		fmt.Errorf("the plugin host %q keeps the objects named PLUGIN.%s with the label %s=%s, and no others", r.User.Name, node, labelHost, ownerOf(node)))
}

// Validate implements resource.Validator.
func (h *pluginHooks) Validate(ctx context.Context, r *resource.Request) field.ErrorList {
	if r.Subresource != "" {
		return nil
	}
	var errs field.ErrorList
	owner, kept := lookup(r.Object, "metadata", "labels", labelHost).(string)
	if r.Old != nil {
		before, was := lookup(r.Old, "metadata", "labels", labelHost).(string)
		if before != owner || kept != was {
			errs = append(errs, field.Forbidden(field.NewPath("metadata", "labels").Key(labelHost), "says which host keeps the object and can't be changed"))
		}
	}
	if !kept { // what is kept by a host it puts right itself
		errs = append(errs, validateWish(r)...)
		errs = append(errs, keepEnabled(ctx, r)...)
		if slices.Contains(h.Configured, r.Name) {
			errs = append(errs, field.Forbidden(field.NewPath("metadata", "name"), fmt.Sprintf("plugin %q is in the configuration (plugins), which counts: change it there", r.Name)))
		}
	}
	if v, ok := lookup(r.Object, "metadata", "annotations", DependentsAnnotation).(string); ok {
		errs = append(errs, oneOf(field.NewPath("metadata", "annotations").Key(DependentsAnnotation), v, "", DependentsIgnore)...)
	}
	if v, ok := lookup(r.Object, "metadata", "annotations", RemovalAnnotation).(string); ok {
		errs = append(errs, oneOf(field.NewPath("metadata", "annotations").Key(RemovalAnnotation), v, "", RemovalPurge, RemovalOrphan)...)
	}
	return errs
}

// validateWish checks an object that somebody applies.
func validateWish(r *resource.Request) field.ErrorList {
	tree, _ := r.Object["spec"].(map[string]any)
	s, errs := ParseSpec(r.Name, tree)
	root := field.NewPath("spec")
	if s.Plugin != r.Name {
		errs = append(errs, field.Invalid(root.Child("plugin"), s.Plugin, fmt.Sprintf("must be the object's name, %q", r.Name)))
	}
	if s.Node != "" {
		errs = append(errs, field.Forbidden(root.Child("node"), "is set by the hosts on nodes; use nodeScoped"))
	}
	if len(s.Privileges) > 0 && !s.NodeScoped {
		errs = append(errs, field.Forbidden(root.Child("privileges"), "only plugins that run on nodes may have them; use nodeScoped"))
	}
	if old, ok := r.Old["spec"].(map[string]any); ok {
		if before, _ := old["nodeScoped"].(bool); before != s.NodeScoped {
			errs = append(errs, field.Forbidden(root.Child("nodeScoped"), "can't be changed; remove the plugin and install it again"))
		}
	}
	return errs
}

// GracePeriod implements resource.Deleter: a plugin whose types have objects is not deleted
// without a word on what becomes of them.
func (h *pluginHooks) GracePeriod(ctx context.Context, r *resource.Request, _ *int64) (int64, error) {
	if err := h.restrictNodes(r, r.Old); err != nil {
		return 0, err
	}
	if _, kept := lookup(r.Old, "metadata", "labels", labelHost).(string); kept {
		return 0, nil
	}
	if err := keepRequired(ctx, r); err != nil || h.Count == nil {
		return 0, err
	}
	if v, _ := lookup(r.Old, "metadata", "annotations", RemovalAnnotation).(string); v != "" {
		return 0, nil
	}
	left, err := remaining(ctx, r.Old, h.Count)
	if err != nil {
		return 0, err
	}
	if left == "" {
		return 0, nil
	}
	return 0, apierrors.NewForbidden(Resource().GroupResource(), r.Name, fmt.Errorf(
		"the cluster has %s, whose types the plugin brings: delete them first, or say what becomes of them by the annotation %s=%s|%s (`pintle plugin remove %s --purge|--orphan`)",
		left, RemovalAnnotation, RemovalPurge, RemovalOrphan, r.Name))
}

// remaining says which objects of a plugin's types there are, nothing where there are none.
func remaining(ctx context.Context, object map[string]any, count func(context.Context, schema.GroupResource) (int, error)) (string, error) {
	var out []string
	for _, gr := range typesOf(object) {
		n, err := count(ctx, gr)
		if err != nil {
			return "", fmt.Errorf("objects of %s: %w", gr, err)
		}
		if n > 0 {
			out = append(out, fmt.Sprintf("%d %s", n, gr))
		}
	}
	return strings.Join(out, ", "), nil
}

// typesOf are the types in the status of a Plugin object.
func typesOf(object map[string]any) []schema.GroupResource {
	list, _ := lookup(object, "status", "types").([]any)
	out := make([]schema.GroupResource, 0, len(list))
	for _, v := range list {
		if text, ok := v.(string); ok {
			out = append(out, schema.ParseGroupResource(text))
		}
	}
	return out
}

// lookup finds a value in a tree, nil where there is none.
func lookup(tree map[string]any, path ...string) any {
	var at any = tree
	for _, key := range path {
		m, ok := at.(map[string]any)
		if !ok {
			return nil
		}
		at = m[key]
	}
	return at
}
