package core

import (
	"context"
	"crypto/rand"
	"fmt"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	runtimeschema "k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/pintle-dev/pintle/plugins/kubeapi/internal/tree"
	"github.com/pintle-dev/pintle/sdk/resource"
)

// What admission of pods reads.
var (
	serviceAccounts = runtimeschema.GroupResource{Resource: "serviceaccounts"}
	priorityClasses = runtimeschema.GroupResource{Group: "scheduling.k8s.io", Resource: "priorityclasses"}
	runtimeClasses  = runtimeschema.GroupResource{Group: "node.k8s.io", Resource: "runtimeclasses"}
	budgets         = runtimeschema.GroupResource{Group: "policy", Resource: "poddisruptionbudgets"}
	pods            = runtimeschema.GroupResource{Resource: "pods"}
)

const (
	tokenVolumePrefix = "kube-api-access-"
	tokenPath         = "/var/run/secrets/kubernetes.io/serviceaccount"
	// tokenSeconds is an hour and seven seconds: by the odd number token requests of
	// admission are told from those that somebody wrote down.
	tokenSeconds     = 3607
	mirrorAnnotation = "kubernetes.io/config.mirror"
)

// admit does to a new pod what upstream's admission plugins do that are on by default:
// ServiceAccount, Priority, DefaultTolerationSeconds, RuntimeClass and LimitRanger.
func admit(ctx context.Context, r *resource.Request, spec map[string]any) error {
	if _, mirror := tree.In(r.Object, "metadata", "annotations")[mirrorAnnotation]; mirror {
		if err := admitMirror(r, spec); err != nil {
			return err
		}
	} else if err := admitServiceAccount(ctx, r, spec); err != nil {
		return err
	}
	if err := admitPriority(ctx, r, spec); err != nil {
		return err
	}
	tolerateOutages(spec)
	if err := admitRuntimeClass(ctx, r, spec); err != nil {
		return err
	}
	return admitLimits(ctx, r, spec)
}

func forbidden(r *resource.Request, format string, args ...any) error {
	meta := tree.Map(r.Object, "metadata")
	name := tree.Str(meta, "name")
	if name == "" {
		name = tree.Str(meta, "generateName")
	}
	if name == "" {
		name = "Unknown"
	}
	return apierrors.NewForbidden(pods, name, fmt.Errorf(format, args...))
}

// admitMirror refuses static pods that refer to secrets of the API.
func admitMirror(r *resource.Request, spec map[string]any) error {
	if tree.Str(spec, "serviceAccountName") != "" {
		return forbidden(r, "a mirror pod may not reference service accounts")
	}
	for _, v := range tree.List(spec, "volumes") {
		if tree.Map(tree.Object(v), "secret") != nil {
			return forbidden(r, "a mirror pod may not reference secrets")
		}
	}
	return nil
}

func admitServiceAccount(ctx context.Context, r *resource.Request, spec map[string]any) error {
	name := tree.Str(spec, "serviceAccountName")
	if name == "" {
		name = "default"
		spec["serviceAccountName"], spec["serviceAccount"] = name, name
	}
	if r.Reader == nil {
		return nil
	}
	account, err := r.Reader.Get(ctx, serviceAccounts, r.Namespace, name)
	if err != nil {
		return forbidden(r, "error looking up service account %s/%s: %w", r.Namespace, name, err)
	}
	if account == nil {
		return forbidden(r, "error looking up service account %s/%s: %w", r.Namespace, name,
			apierrors.NewNotFound(runtimeschema.GroupResource{Resource: "serviceaccount"}, name))
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

// systemClasses exist in every cluster; upstream's server creates them at start.
var systemClasses = map[string]int64{
	"system-node-critical":    2000001000,
	"system-cluster-critical": 2000000000,
}

func admitPriority(ctx context.Context, r *resource.Request, spec map[string]any) error {
	name := tree.Str(spec, "priorityClassName")
	value, policy := int64(0), "PreemptLowerPriority"
	class, err := priorityClass(ctx, r, name)
	if err != nil {
		return err
	}
	switch system, ok := systemClasses[name]; {
	case class != nil:
		value = tree.Int0(class, "value")
		if p := tree.Str(class, "preemptionPolicy"); p != "" {
			policy = p
		}
		spec["priorityClassName"] = tree.Str(tree.Map(class, "metadata"), "name")
	case ok:
		value = system
	case name != "":
		return forbidden(r, "no PriorityClass with name %s was found", name)
	}
	if p, ok := tree.Int(spec, "priority"); ok && p != value {
		return forbidden(r, "the integer value of priority (%d) must not be provided in pod spec; priority admission controller computed %d from the given PriorityClass name", p, value)
	}
	spec["priority"] = value
	if p := tree.Str(spec, "preemptionPolicy"); p != "" && p != policy {
		return forbidden(r, "the string value of PreemptionPolicy (%s) must not be provided in pod spec; priority admission controller computed %s from the given PriorityClass name", p, policy)
	}
	spec["preemptionPolicy"] = policy
	return nil
}

// priorityClass returns the class of a name, or without one the class that is the
// default of the cluster, the lowest where there are several.
func priorityClass(ctx context.Context, r *resource.Request, name string) (map[string]any, error) {
	if r.Reader == nil {
		return nil, nil
	}
	if name != "" {
		class, err := r.Reader.Get(ctx, priorityClasses, "", name)
		if err != nil {
			return nil, fmt.Errorf("reading priority class %s: %w", name, err)
		}
		return class, nil
	}
	classes, err := r.Reader.List(ctx, priorityClasses, "")
	if err != nil {
		return nil, fmt.Errorf("listing priority classes: %w", err)
	}
	var lowest map[string]any
	for _, c := range classes {
		if tree.Bool(c, "globalDefault") && (lowest == nil || tree.Int0(c, "value") < tree.Int0(lowest, "value")) {
			lowest = c
		}
	}
	return lowest, nil
}

// outageSeconds is how long a pod stays bound to a node that is gone.
const outageSeconds = 300

// tolerateOutages lets a pod stay for a while on a node that is not ready or unreachable,
// unless it says itself how long.
func tolerateOutages(spec map[string]any) {
	for _, key := range [...]string{"node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"} {
		if tolerates(spec, key) {
			continue
		}
		spec["tolerations"] = append(tree.List(spec, "tolerations"), map[string]any{
			"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": int64(outageSeconds),
		})
	}
}

func tolerates(spec map[string]any, key string) bool {
	for _, v := range tree.List(spec, "tolerations") {
		t := tree.Object(v)
		k, effect := tree.Str(t, "key"), tree.Str(t, "effect")
		if (k == key || k == "") && (effect == "NoExecute" || effect == "") {
			return true
		}
	}
	return false
}

// admitRuntimeClass gives a pod the overhead and the scheduling of its runtime class.
func admitRuntimeClass(ctx context.Context, r *resource.Request, spec map[string]any) error {
	name := tree.Str(spec, "runtimeClassName")
	if name == "" || r.Reader == nil {
		return nil
	}
	class, err := r.Reader.Get(ctx, runtimeClasses, "", name)
	if err != nil {
		return fmt.Errorf("reading runtime class %s: %w", name, err)
	}
	if class == nil {
		return forbidden(r, "pod rejected: RuntimeClass %q not found", name)
	}
	overhead := tree.In(class, "overhead", "podFixed")
	if have := tree.Map(spec, "overhead"); have != nil && !tree.Equal(have, overhead) {
		return forbidden(r, "pod rejected: Pod's Overhead doesn't match RuntimeClass's defined Overhead")
	}
	if len(overhead) > 0 {
		spec["overhead"] = tree.CopyMap(overhead)
	}
	scheduling := tree.Map(class, "scheduling")
	for k, v := range tree.Map(scheduling, "nodeSelector") {
		selector := tree.Ensure(spec, "nodeSelector")
		if have, ok := selector[k]; ok && have != v {
			return forbidden(r, "conflict: runtimeClass.scheduling.nodeSelector[%s] = %v; pod.spec.nodeSelector[%s] = %v", k, v, k, have)
		}
		selector[k] = v
	}
	if more := tree.List(scheduling, "tolerations"); len(more) > 0 {
		spec["tolerations"] = append(tree.List(spec, "tolerations"), tree.Copy(more).([]any)...)
	}
	return nil
}
