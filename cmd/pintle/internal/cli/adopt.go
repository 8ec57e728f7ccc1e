package cli

import (
	"context"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/cli-runtime/pkg/resource"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/util/csaupgrade"
	kubectlapply "k8s.io/kubectl/pkg/cmd/apply"
	cmdutil "k8s.io/kubectl/pkg/cmd/util"
)

// adopt gives the fields that kubectl's client-side apply owns to the manager that is going to
// apply, as kubectl does when it begins to apply server-side: else they would conflict, and
// what the files no longer have would stay. The objects themselves do not change, so it does no
// harm where the transaction is refused.
func (a *atomicApply) adopt(ctx context.Context, factory cmdutil.Factory, infos []*resource.Info) error {
	client, err := factory.DynamicClient()
	if err != nil {
		return fmt.Errorf("client: %w", err)
	}
	for _, info := range infos {
		t := &objectRef{mapping: info.Mapping, namespace: info.Namespace, name: info.Name}
		if err := a.adoptOne(ctx, resourceOf(client, t), info.Name); err != nil {
			return inFile(info, err)
		}
	}
	return nil
}

func (a *atomicApply) adoptOne(ctx context.Context, client dynamic.ResourceInterface, name string) error {
	for {
		live, err := client.Get(ctx, name, metav1.GetOptions{})
		if apierrors.IsNotFound(err) || apierrors.IsForbidden(err) {
			return nil // There is nothing to adopt, or who applies may do only that.
		}
		if err != nil {
			return err
		}
		if live.GetAnnotations()[lastApplied] == "" {
			return nil
		}
		patch, err := csaupgrade.UpgradeManagedFieldsPatch(live, sets.New(kubectlapply.FieldManagerClientSideApply), a.manager)
		if err != nil || patch == nil {
			return err
		}
		_, err = client.Patch(ctx, name, types.JSONPatchType, patch, metav1.PatchOptions{})
		if !apierrors.IsConflict(err) {
			return err
		}
	}
}

const lastApplied = "kubectl.kubernetes.io/last-applied-configuration"
