package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"

	"github.com/pintle-dev/pintle/core/apiserver/corev1"
)

const undeleteHelp = `Create an object anew as it was when it was removed, as far back as the store keeps its history.

It is a new object with a new uid, by which everybody knows it from the old one, and it is
created as any other: who undeletes must be allowed to get and to create it, and it is admitted
and validated. Labels, annotations, spec and data are as they were, and so are the field
managers. Status is made anew by who keeps it, and finalizers are set by who needs them.
References to owners that are gone are left out.

What was removed together with it (the pods of a deployment, what was in a namespace) does not
come back by itself, but controllers make anew what they had made.`

type undeleteCommand struct {
	client clientFlags
	dryRun string
}

func newUndelete() *cobra.Command {
	u := &undeleteCommand{}
	cmd := &cobra.Command{
		Use: "undelete KIND NAME", Short: "Bring back an object that was removed", Long: undeleteHelp,
		Args: cobra.RangeArgs(1, 2),
		Example: `  pintle undelete configmap settings -n prod
  pintle undelete deployment/web --dry-run=server`,
		RunE: func(cmd *cobra.Command, args []string) error {
			return u.run(cmd.Context(), args, cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	f := cmd.Flags()
	u.client.register(f)
	f.StringVar(&u.dryRun, "dry-run", "none", `"none" or "server": all is done but for the write`)
	return cmd
}

func (u *undeleteCommand) run(ctx context.Context, args []string, out, errOut io.Writer) error {
	var opts metav1.CreateOptions
	suffix := ""
	switch u.dryRun {
	case "none":
	case "server":
		opts.DryRun, suffix = []string{metav1.DryRunAll}, " (server dry run)"
	default:
		return fmt.Errorf(`--dry-run=%s: want "none" or "server"`, u.dryRun)
	}
	factory, err := u.client.factory()
	if err != nil {
		return err
	}
	t, err := parseObjectRef(factory, args, false)
	if err != nil {
		return err
	}
	data, err := fetchHistory(ctx, factory, t, 1, true) // the newest is all it takes
	if err != nil {
		return err
	}
	var h corev1.History
	if err := json.Unmarshal(data, &h); err != nil {
		return fmt.Errorf("the server's answer: %w", err)
	}
	last, err := lastState(t, &h)
	if err != nil {
		return err
	}
	client, err := factory.DynamicClient()
	if err != nil {
		return fmt.Errorf("client: %w", err)
	}
	mapper, err := factory.ToRESTMapper()
	if err != nil {
		return fmt.Errorf("types of the server: %w", err)
	}
	gone, err := keepOwners(ctx, last, client, mapper)
	if err != nil {
		return err
	}
	for _, o := range gone {
		fmt.Fprintf(errOut, "Its owner %s %q is gone: the reference to it is left out.\n", strings.ToLower(o.Kind), o.Name)
	}
	managed := last.GetManagedFields()
	last.SetManagedFields(nil)
	created, err := resourceOf(client, t).Create(ctx, last, opts)
	if err != nil {
		return err
	}
	if len(opts.DryRun) == 0 && len(managed) > 0 {
		if err := giveBack(ctx, resourceOf(client, t), created, managed); err != nil {
			fmt.Fprintf(errOut, "Its fields belong to this command by now, and not to whom they belonged: %v\n", err)
		}
	}
	_, err = fmt.Fprintf(out, "%s/%s undeleted%s\n", strings.ToLower(t.mapping.GroupVersionKind.GroupKind().String()), created.GetName(), suffix)
	return err
}

func resourceOf(client dynamic.Interface, t *objectRef) dynamic.ResourceInterface {
	if t.namespace == "" {
		return client.Resource(t.mapping.Resource)
	}
	return client.Resource(t.mapping.Resource).Namespace(t.namespace)
}

// giveBack lets the fields of an object belong to whom they belonged before. A create can't: who
// creates an object owns all of it.
func giveBack(ctx context.Context, client dynamic.ResourceInterface, created *unstructured.Unstructured, managed []metav1.ManagedFieldsEntry) error {
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{
		"managedFields": managed, "uid": created.GetUID(), "resourceVersion": created.GetResourceVersion(),
	}})
	if err != nil {
		return err
	}
	_, err = client.Patch(ctx, created.GetName(), types.MergePatchType, patch, metav1.PatchOptions{})
	return err
}

// lastState is what a removed object is created anew of.
func lastState(t *objectRef, h *corev1.History) (*unstructured.Unstructured, error) {
	if len(h.Items) == 0 || h.Items[len(h.Items)-1].Type != corev1.Removed {
		return nil, fmt.Errorf("%s exists", t)
	}
	o := &unstructured.Unstructured{}
	if err := o.UnmarshalJSON(h.Items[len(h.Items)-1].Object); err != nil {
		return nil, fmt.Errorf("the server's answer: %w", err)
	}
	// What finalizers were waiting for has been done; whoever needs them sets them again.
	for _, f := range []string{"uid", "resourceVersion", "creationTimestamp", "generation", "deletionTimestamp", "deletionGracePeriodSeconds", "finalizers", "selfLink"} {
		unstructured.RemoveNestedField(o.Object, "metadata", f)
	}
	unstructured.RemoveNestedField(o.Object, "status")
	return o, nil
}

// keepOwners leaves out the references to owners that are gone, and returns these.
func keepOwners(ctx context.Context, o *unstructured.Unstructured, client dynamic.Interface, mapper meta.RESTMapper) (gone []metav1.OwnerReference, err error) {
	var kept []metav1.OwnerReference
	for _, ref := range o.GetOwnerReferences() {
		there, err := ownerThere(ctx, ref, o.GetNamespace(), client, mapper)
		if err != nil {
			return nil, fmt.Errorf("owner %s %q: %w", ref.Kind, ref.Name, err)
		}
		if there {
			kept = append(kept, ref)
		} else {
			gone = append(gone, ref)
		}
	}
	o.SetOwnerReferences(kept)
	return gone, nil
}

func ownerThere(ctx context.Context, ref metav1.OwnerReference, namespace string, client dynamic.Interface, mapper meta.RESTMapper) (bool, error) {
	gv, err := schema.ParseGroupVersion(ref.APIVersion)
	if err != nil {
		return false, err
	}
	m, err := mapper.RESTMapping(gv.WithKind(ref.Kind).GroupKind(), gv.Version)
	if meta.IsNoMatchError(err) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	t := &objectRef{mapping: m}
	if m.Scope.Name() == meta.RESTScopeNameNamespace {
		t.namespace = namespace
	}
	owner, err := resourceOf(client, t).Get(ctx, ref.Name, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		return false, nil
	case err != nil:
		return false, err
	case owner.GetDeletionTimestamp() != nil:
		return false, nil
	}
	return owner.GetUID() == ref.UID, nil
}
