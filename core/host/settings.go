package host

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
	kjson "sigs.k8s.io/json"
	"sigs.k8s.io/yaml"

	"github.com/pintle-dev/pintle/sdk/resource"
)

// maxSettingsFrom bounds the Secrets that one plugin's settings come from.
const maxSettingsFrom = 8

// SettingsSource is where settings come from that are not for everybody to read. What it holds
// is merged over the settings that stand in the object, and over the sources before it: maps by
// their keys, all else is replaced.
type SettingsSource struct {
	SecretRef *SecretKeyRef `json:"secretRef,omitempty"`
}

// SecretKeyRef names a key of a Secret, which holds an object in YAML or JSON.
type SecretKeyRef struct {
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
	Key       string `json:"key"`
}

func (r SecretKeyRef) secret() string { return r.Namespace + "/" + r.Name }

// SettingsOrigin says of an entry whose settings come from elsewhere, too, what was found there.
type SettingsOrigin struct {
	// Awaits says what is missing of the settings, empty where nothing is. Such an entry is not
	// run.
	Awaits string
	// Version changes with what they come from.
	Version string
	// hidden are values that must not be told.
	hidden []string
	// plain are the settings that everybody may read.
	plain json.RawMessage
}

// hide takes from a text what is not for everybody to read.
func (o *SettingsOrigin) hide(text string) string {
	for _, v := range o.hidden {
		text = strings.ReplaceAll(text, v, "(hidden)")
	}
	return text
}

// validateSettings says what is wrong with the settings of a spec and where they come from.
func (s *PluginSpec) validateSettings(at *field.Path) field.ErrorList {
	var errs field.ErrorList
	if len(s.Settings) > 0 {
		var object map[string]any
		if err := json.Unmarshal(s.Settings, &object); err != nil {
			errs = append(errs, field.Invalid(at.Child("settings"), string(s.Settings), "must be an object"))
		}
	}
	at = at.Child("settingsFrom")
	if s.NodeScoped && len(s.SettingsFrom) > 0 {
		errs = append(errs, field.Forbidden(at, "the hosts on nodes, where a nodeScoped plugin runs, may not read Secrets"))
	}
	if n := len(s.SettingsFrom); n > maxSettingsFrom {
		errs = append(errs, field.TooMany(at, n, maxSettingsFrom))
	}
	for i, from := range s.SettingsFrom {
		at := at.Index(i).Child("secretRef")
		if from.SecretRef == nil {
			errs = append(errs, field.Required(at, "the namespace, name and key of a Secret"))
			continue
		}
		for _, msg := range validation.IsDNS1123Label(from.SecretRef.Namespace) {
			errs = append(errs, field.Invalid(at.Child("namespace"), from.SecretRef.Namespace, msg))
		}
		for _, msg := range validation.IsDNS1123Subdomain(from.SecretRef.Name) {
			errs = append(errs, field.Invalid(at.Child("name"), from.SecretRef.Name, msg))
		}
		for _, msg := range validation.IsConfigMapKey(from.SecretRef.Key) {
			errs = append(errs, field.Invalid(at.Child("key"), from.SecretRef.Key, msg))
		}
	}
	return errs
}

// mayReadSettings refuses Secrets that who writes the object may not read: a plugin of theirs
// would tell.
func (h *pluginHooks) mayReadSettings(ctx context.Context, r *resource.Request) error {
	from := refsOf(r.Object)
	if h.Authorize == nil || len(from) == 0 {
		return nil
	}
	before := refsOf(r.Old)
	for i, ref := range from {
		if slices.ContainsFunc(before, func(b SecretKeyRef) bool { return b.secret() == ref.secret() }) {
			continue
		}
		ok, err := h.Authorize(ctx, r.User, "get", "", "secrets", ref.Namespace, ref.Name)
		if err != nil {
			return fmt.Errorf("spec.settingsFrom[%d]: %w", i, err)
		}
		if !ok {
			return apierrors.NewForbidden(Resource().GroupResource(), r.Name, field.Forbidden(
				field.NewPath("spec", "settingsFrom").Index(i), fmt.Sprintf("user %q may not read the Secret %s", r.User.Name, ref.secret())))
		}
	}
	return nil
}

// refsOf are the keys of Secrets that the settings in an object come from.
func refsOf(object map[string]any) []SecretKeyRef {
	list, _ := lookup(object, "spec", "settingsFrom").([]any)
	var out []SecretKeyRef
	for _, item := range list {
		m, _ := item.(map[string]any)
		word := func(key string) string { s, _ := lookup(m, "secretRef", key).(string); return s }
		if ref := (SecretKeyRef{word("namespace"), word("name"), word("key")}); ref.Name != "" {
			out = append(out, ref)
		}
	}
	return out
}

// settle completes the settings of an entry by those that come from Secrets.
func (h *Host) settle(e *Spec, from []SettingsSource) {
	if len(from) == 0 {
		return
	}
	o := SettingsOrigin{plain: e.Settings}
	merged := map[string]any{}
	_ = kjson.UnmarshalCaseSensitivePreserveInts(e.Settings, &merged) // it was validated, or is empty
	var versions []string
	for _, f := range from {
		tree, version, err := h.secretTree(*f.SecretRef)
		if err != nil {
			o.Awaits = err.Error()
			break
		}
		versions = append(versions, f.SecretRef.secret()+"@"+version)
		o.hidden = append(o.hidden, leaves(tree)...)
		merge(merged, tree)
	}
	// Longer ones first: one may be part of another.
	slices.SortFunc(o.hidden, func(a, b string) int { return len(b) - len(a) })
	o.Version = strings.Join(versions, " ")
	if o.Awaits == "" {
		e.Settings, _ = json.Marshal(merged) // trees that were decoded
	}
	e.Origin = o
}

// secretTree is the object in a key of a Secret, and the version of that.
func (h *Host) secretTree(ref SecretKeyRef) (tree map[string]any, version string, err error) {
	var u *unstructured.Unstructured
	if h.wishes != nil {
		u = h.wishes.secrets.get(ref.secret())
	}
	switch {
	case u == nil:
		return nil, "", fmt.Errorf("its settings come from the Secret %s, which is not there", ref.secret())
	case lookup(u.Object, "data", ref.Key) == nil:
		return nil, "", fmt.Errorf("its settings come from the Secret %s, which has no key %q", ref.secret(), ref.Key)
	}
	text, _ := lookup(u.Object, "data", ref.Key).(string)
	raw, err := base64.StdEncoding.DecodeString(text)
	if err == nil {
		raw, err = yaml.YAMLToJSONStrict(raw)
	}
	if err == nil {
		err = kjson.UnmarshalCaseSensitivePreserveInts(raw, &tree)
	}
	if err != nil || tree == nil { // what is wrong would tell what is in it
		return nil, "", fmt.Errorf("its settings come from the key %q of the Secret %s, which holds no object in YAML or JSON", ref.Key, ref.secret())
	}
	return tree, u.GetResourceVersion(), nil
}

// merge puts the fields of from over those of into.
func merge(into, from map[string]any) {
	for k, v := range from {
		below, ok := v.(map[string]any)
		have, both := into[k].(map[string]any)
		if ok && both {
			merge(have, below)
			continue
		}
		into[k] = v
	}
}

// leaves are the texts and numbers in a tree.
func leaves(v any) []string {
	switch v := v.(type) {
	case map[string]any:
		var out []string
		for _, below := range v {
			out = append(out, leaves(below)...)
		}
		return out
	case []any:
		var out []string
		for _, below := range v {
			out = append(out, leaves(below)...)
		}
		return out
	case nil, bool:
		return nil
	case string:
		if v == "" {
			return nil
		}
		return []string{v}
	default:
		return []string{fmt.Sprint(v)}
	}
}

// confided are the fields of settings that a plugin's schema marks as not for everybody to
// read, and that stand in the Plugin object.
func confided(rawSchema []byte, settings json.RawMessage) []string {
	var schema, tree map[string]any
	if json.Unmarshal(rawSchema, &schema) != nil || json.Unmarshal(settings, &tree) != nil {
		return nil
	}
	var out []string
	var walk func(schema map[string]any, v any, at *field.Path)
	walk = func(schema map[string]any, v any, at *field.Path) {
		if schema["writeOnly"] == true || schema["format"] == "password" {
			out = append(out, at.String())
			return
		}
		properties, _ := schema["properties"].(map[string]any)
		items, _ := schema["items"].(map[string]any)
		switch v := v.(type) {
		case map[string]any:
			for name, value := range v {
				if below, ok := properties[name].(map[string]any); ok {
					walk(below, value, at.Child(name))
				}
			}
		case []any:
			for i, value := range v {
				walk(items, value, at.Index(i))
			}
		}
	}
	walk(schema, tree, field.NewPath("settings"))
	slices.Sort(out)
	return out
}

// warnOfSettings says which settings had better come from a Secret.
func (i *instance) warnOfSettings(rawSchema []byte) {
	plain := i.spec.Settings
	if i.spec.Origin.Version != "" {
		plain = i.spec.Origin.plain
	}
	if i.spec.Wish == nil || len(plain) == 0 {
		return
	}
	if fields := confided(rawSchema, plain); len(fields) > 0 {
		note := fmt.Sprintf("Whoever may read Plugin objects can read %s: put that into a Secret, and name it in spec.settingsFrom", strings.Join(fields, ", "))
		i.out.note("%s", note)
		i.tell(corev1.EventTypeWarning, eventOpenSettings, note)
	}
}
