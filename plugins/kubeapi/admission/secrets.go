package admission

import (
	"slices"

	"github.com/pintle-dev/pintle/plugins/kubeapi/internal/tree"
	"github.com/pintle-dev/pintle/sdk/resource"
)

// names returns the names of a list of references.
func names(list []any) []string {
	out := make([]string, len(list))
	for i, v := range list {
		out[i] = tree.Str(tree.Object(v), "name")
	}
	return out
}

func mountable(account map[string]any) []string { return names(tree.List(account, "secrets")) }

// checkSecrets refuses a pod with secrets, or pull secrets, that its account does not have.
func checkSecrets(r *resource.Request, account, spec map[string]any) error {
	allowed, accountName := mountable(account), tree.Str(tree.Map(account, "metadata"), "name")
	for _, v := range tree.List(spec, "volumes") {
		source := tree.Map(tree.Object(v), "secret")
		if name := tree.Str(source, "secretName"); source != nil && !slices.Contains(allowed, name) {
			return forbidden(r, "volume with secret.secretName=%q is not allowed because service account %s does not reference that secret", name, accountName)
		}
	}
	for _, list := range [...][2]string{{"initContainers", "init container"}, {"containers", "container"}} {
		if err := checkContainers(r, account, allowed, list[1], tree.List(spec, list[0])); err != nil {
			return err
		}
	}
	pull := names(tree.List(account, "imagePullSecrets"))
	for i, name := range names(tree.List(spec, "imagePullSecrets")) {
		if !slices.Contains(pull, name) {
			return forbidden(r, "imagePullSecrets[%d].name=%q is not allowed because service account %s does not reference that imagePullSecret", i, name, accountName)
		}
	}
	return nil
}

// checkContainers refuses containers with secrets in their environment that are not allowed.
func checkContainers(r *resource.Request, account map[string]any, allowed []string, word string, list []any) error {
	accountName := tree.Str(tree.Map(account, "metadata"), "name")
	for _, v := range list {
		c := tree.Object(v)
		for _, e := range tree.List(c, "env") {
			ref := tree.In(tree.Object(e), "valueFrom", "secretKeyRef")
			if name := tree.Str(ref, "name"); ref != nil && !slices.Contains(allowed, name) {
				return forbidden(r, "%s %s with envVar %s referencing secret.secretName=%q is not allowed because service account %s does not reference that secret",
					word, tree.Str(c, "name"), tree.Str(tree.Object(e), "name"), name, accountName)
			}
		}
		for _, e := range tree.List(c, "envFrom") {
			ref := tree.Map(tree.Object(e), "secretRef")
			if name := tree.Str(ref, "name"); ref != nil && !slices.Contains(allowed, name) {
				return forbidden(r, "%s %s with envFrom referencing secret.secretName=%q is not allowed because service account %s does not reference that secret",
					word, tree.Str(c, "name"), name, accountName)
			}
		}
	}
	return nil
}

// refersToSecrets reports whether a pod refers to any secret: for pulling, in environments,
// or in volumes of any kind.
func refersToSecrets(spec map[string]any) bool {
	if len(tree.List(spec, "imagePullSecrets")) > 0 {
		return true
	}
	for _, list := range [...]string{"initContainers", "containers", "ephemeralContainers"} {
		for _, v := range tree.List(spec, list) {
			c := tree.Object(v)
			if slices.ContainsFunc(tree.List(c, "env"), func(e any) bool {
				return tree.In(tree.Object(e), "valueFrom", "secretKeyRef") != nil
			}) || slices.ContainsFunc(tree.List(c, "envFrom"), func(e any) bool {
				return tree.Map(tree.Object(e), "secretRef") != nil
			}) {
				return true
			}
		}
	}
	return slices.ContainsFunc(tree.List(spec, "volumes"), func(v any) bool { return volumeOfSecret(tree.Object(v)) })
}

func volumeOfSecret(v map[string]any) bool {
	if tree.Map(v, "secret") != nil || tree.Str(tree.Map(v, "azureFile"), "secretName") != "" {
		return true
	}
	for _, source := range [...]string{"cephfs", "flexVolume", "rbd", "scaleIO", "iscsi", "storageos"} {
		if tree.In(v, source, "secretRef") != nil {
			return true
		}
	}
	if tree.In(v, "csi", "nodePublishSecretRef") != nil {
		return true
	}
	return slices.ContainsFunc(tree.List(tree.Map(v, "projected"), "sources"), func(s any) bool {
		return tree.Map(tree.Object(s), "secret") != nil
	})
}
