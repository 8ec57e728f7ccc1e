package admission

import (
	"context"
	"crypto/rand"
	"strconv"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/pintle-dev/pintle/plugins/kubeapi/internal/tree"
	"github.com/pintle-dev/pintle/sdk/resource"
)

const (
	defaultAccount    = "default"
	tokenVolumePrefix = "kube-api-access-"
	tokenPath         = "/var/run/secrets/kubernetes.io/serviceaccount"
	// tokenSeconds is an hour and seven seconds: by the odd number token requests of
	// admission are told from those that somebody wrote down.
	tokenSeconds     = 3607
	mirrorAnnotation = "kubernetes.io/config.mirror"
)

func isMirror(pod map[string]any) bool {
	_, mirror := tree.In(pod, "metadata", "annotations")[mirrorAnnotation]
	return mirror
}

// giveServiceAccount gives a new pod its account, the account's pull secrets and a token.
func (p *Plugins) giveServiceAccount(ctx context.Context, r *resource.Request, spec map[string]any) error {
	if !p.on(serviceAccount) {
		return nil
	}
	if isMirror(r.Object) {
		return p.checkServiceAccount(ctx, r)
	}
	if tree.Str(spec, "serviceAccountName") == "" {
		spec["serviceAccountName"], spec["serviceAccount"] = defaultAccount, defaultAccount
	}
	if r.Reader == nil {
		return nil
	}
	account, err := accountOf(ctx, r, spec)
	if err != nil {
		return err
	}
	if automount(account, spec) {
		mountToken(spec)
	}
	if len(tree.List(spec, "imagePullSecrets")) == 0 {
		if secrets := tree.List(account, "imagePullSecrets"); len(secrets) > 0 {
			spec["imagePullSecrets"] = tree.Copy(secrets)
		}
	}
	return nil
}

// The account "default" of a new namespace is made by a controller: who is faster waits.
const (
	accountTries = 10
	accountPause = 150 * time.Millisecond
)

func accountOf(ctx context.Context, r *resource.Request, spec map[string]any) (map[string]any, error) {
	name := tree.Str(spec, "serviceAccountName")
	for try := 1; ; try++ {
		account, err := r.Reader.Get(ctx, serviceAccounts, r.Namespace, name)
		if err != nil {
			return nil, forbidden(r, "error looking up service account %s/%s: %w", r.Namespace, name, err)
		}
		if account != nil {
			return account, nil
		}
		if name != defaultAccount || try == accountTries || !pause(ctx, accountPause) {
			return nil, forbidden(r, "error looking up service account %s/%s: %w", r.Namespace, name,
				apierrors.NewNotFound(schema.GroupResource{Resource: "serviceaccount"}, name))
		}
	}
}

// pause waits and reports whether ctx lasted as long.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// checkServiceAccount refuses a new pod without an account, or with secrets that its account
// does not let it have.
func (p *Plugins) checkServiceAccount(ctx context.Context, r *resource.Request) error {
	if !p.on(serviceAccount) {
		return nil
	}
	spec := tree.Map(r.Object, "spec")
	if isMirror(r.Object) {
		return checkMirror(r, spec)
	}
	account, err := p.requireAccount(ctx, r, spec)
	if err != nil || account == nil || !limitsSecrets(account) {
		return err
	}
	return checkSecrets(r, account, spec)
}

// checkEphemeral refuses ephemeral containers with secrets that the pod's account does not
// let it have.
func (p *Plugins) checkEphemeral(ctx context.Context, r *resource.Request) error {
	if !p.on(serviceAccount) || r.Operation != resource.Update {
		return nil
	}
	spec := tree.Map(r.Object, "spec")
	account, err := p.requireAccount(ctx, r, spec)
	if err != nil || account == nil || !limitsSecrets(account) {
		return err
	}
	return checkContainers(r, account, mountable(account), "ephemeral container", tree.List(spec, "ephemeralContainers"))
}

func (p *Plugins) requireAccount(ctx context.Context, r *resource.Request, spec map[string]any) (map[string]any, error) {
	if tree.Str(spec, "serviceAccountName") == "" {
		return nil, forbidden(r, "no service account specified for pod %s/%s", r.Namespace, tree.Str(tree.Map(r.Object, "metadata"), "name"))
	}
	if r.Reader == nil {
		return nil, nil
	}
	return accountOf(ctx, r, spec)
}

// checkMirror refuses static pods that refer to what only the API has.
func checkMirror(r *resource.Request, spec map[string]any) error {
	if tree.Str(spec, "serviceAccountName") != "" {
		return forbidden(r, "a mirror pod may not reference service accounts")
	}
	if refersToSecrets(spec) {
		return forbidden(r, "a mirror pod may not reference secrets")
	}
	for _, v := range tree.List(spec, "volumes") {
		for _, s := range tree.List(tree.Map(tree.Object(v), "projected"), "sources") {
			if tree.Map(tree.Object(s), "serviceAccountToken") != nil {
				return forbidden(r, "a mirror pod may not use ServiceAccountToken volume projections")
			}
		}
	}
	return nil
}

// automount reports whether a pod gets a token: as it says itself, else as its account says.
func automount(account, spec map[string]any) bool {
	if b, ok := spec["automountServiceAccountToken"].(bool); ok {
		return b
	}
	if b, ok := account["automountServiceAccountToken"].(bool); ok {
		return b
	}
	return true
}

// mountToken mounts a projected volume of token, CA and namespace in all containers that
// have nothing mounted at its path.
func mountToken(spec map[string]any) {
	volume, have := "", false
	for _, v := range tree.List(spec, "volumes") {
		if name := tree.Str(tree.Object(v), "name"); strings.HasPrefix(name, tokenVolumePrefix) {
			volume, have = name, true
			break
		}
	}
	if !have {
		volume = tokenVolumePrefix + suffix()
	}
	used := false
	for _, list := range [...]string{"initContainers", "containers"} {
		for _, v := range tree.List(spec, list) {
			c := tree.Object(v)
			if c == nil || mounted(c) {
				continue
			}
			used = true
			c["volumeMounts"] = append(tree.List(c, "volumeMounts"), map[string]any{
				"name": volume, "readOnly": true, "mountPath": tokenPath,
			})
		}
	}
	if used && !have {
		spec["volumes"] = append(tree.List(spec, "volumes"), tokenVolume(volume))
	}
}

func mounted(c map[string]any) bool {
	for _, m := range tree.List(c, "volumeMounts") {
		if tree.Str(tree.Object(m), "mountPath") == tokenPath {
			return true
		}
	}
	return false
}

func tokenVolume(name string) map[string]any {
	return map[string]any{
		"name": name,
		"projected": map[string]any{
			"defaultMode": int64(420),
			"sources": []any{
				map[string]any{"serviceAccountToken": map[string]any{"path": "token", "expirationSeconds": int64(tokenSeconds)}},
				map[string]any{"configMap": map[string]any{
					"name":  "kube-root-ca.crt",
					"items": []any{map[string]any{"key": "ca.crt", "path": "ca.crt"}},
				}},
				map[string]any{"downwardAPI": map[string]any{"items": []any{map[string]any{
					"path":     "namespace",
					"fieldRef": map[string]any{"apiVersion": "v1", "fieldPath": "metadata.namespace"},
				}}}},
			},
		},
	}
}

// suffix returns five random letters and digits that make no words.
func suffix() string {
	const alphabet = "bcdfghjklmnpqrstvwxz2456789"
	var b [5]byte
	// rand.Read never fails: it ends the process where the system has no randomness.
	_, _ = rand.Read(b[:])
	for i := range b {
		b[i] = alphabet[int(b[i])%len(alphabet)]
	}
	return string(b[:])
}

// limitsSecrets reports whether the pods of an account may have its own secrets only.
func limitsSecrets(account map[string]any) bool {
	v, _ := tree.In(account, "metadata", "annotations")["kubernetes.io/enforce-mountable-secrets"].(string)
	on, _ := strconv.ParseBool(v)
	return on
}
