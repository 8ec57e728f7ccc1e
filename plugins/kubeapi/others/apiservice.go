package others

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"

	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/pintle-dev/pintle/crd/schema"
	"github.com/pintle-dev/pintle/plugins/kubeapi/internal/define"
	"github.com/pintle-dev/pintle/plugins/kubeapi/internal/hook"
	"github.com/pintle-dev/pintle/plugins/kubeapi/internal/tree"
	"github.com/pintle-dev/pintle/sdk/resource"
)

// apiServiceSchema is of a kind that is not among k8s.io/api.
const apiServiceSchema = `{"type":"object","description":"APIService describes who serves a group and version.","properties":{
 "spec":{"type":"object","properties":{
  "group":{"type":"string"},"version":{"type":"string"},"groupPriorityMinimum":{"type":"integer","format":"int32"},
  "versionPriority":{"type":"integer","format":"int32"},"insecureSkipTLSVerify":{"type":"boolean"},
  "caBundle":{"type":"string","format":"byte"},
  "service":{"type":"object","properties":{"name":{"type":"string"},"namespace":{"type":"string"},"port":{"type":"integer","format":"int32"}}}}},
 "status":{"type":"object","properties":{"conditions":{"type":"array","x-kubernetes-list-type":"map","x-kubernetes-list-map-keys":["type"],
  "x-kubernetes-patch-strategy":"merge","x-kubernetes-patch-merge-key":"type","items":{"type":"object","required":["type","status"],"properties":{
   "type":{"type":"string"},"status":{"type":"string"},"reason":{"type":"string"},"message":{"type":"string"},
   "lastTransitionTime":{"type":"string","format":"date-time"}}}}}}}}`

func registration() []define.Type {
	kind := in("apiregistration.k8s.io", "v1")
	t := kind("APIService", "apiservices", hook.Kind{
		OnPrepare: hook.DropStatus, OnValidate: validateAPIService, OnPrint: printAPIService,
	}, define.Cluster, define.APIExtensions, define.Status, define.Uncounted, define.Columns("Service", "Available", "Age"))
	t.Versions[0].Schema = sync.OnceValues(func() (*schema.Schema, error) {
		s := &schema.Schema{}
		return s, json.Unmarshal([]byte(apiServiceSchema), s)
	})
	return []define.Type{t}
}

// validateAPIService takes notes of what this server serves itself; it sends no requests
// on to others.
func validateAPIService(_ context.Context, r *resource.Request) field.ErrorList {
	spec, path := tree.Map(r.Object, "spec"), field.NewPath("spec")
	group, version := tree.Str(spec, "group"), tree.Str(spec, "version")
	var errs field.ErrorList
	if name, want := tree.Str(tree.Map(r.Object, "metadata"), "name"), version+"."+group; name != want {
		errs = append(errs, field.Invalid(field.NewPath("metadata", "name"), name, fmt.Sprintf("must be `spec.version+\".\"+spec.group`: %q", want)))
	}
	if version == "" {
		errs = append(errs, field.Required(path.Child("version"), ""))
	}
	if spec["service"] != nil {
		errs = append(errs, field.Forbidden(path.Child("service"), "this server does not forward APIs to other servers; define the types with a CustomResourceDefinition or a plugin"))
	}
	for _, f := range [...]struct {
		key string
		max int64
	}{{"groupPriorityMinimum", 20000}, {"versionPriority", 1000}} {
		if n := tree.Int0(spec, f.key); n <= 0 || n > f.max {
			errs = append(errs, field.Invalid(path.Child(f.key), n, fmt.Sprintf("must be positive and less than or equal to %d", f.max)))
		}
	}
	return errs
}

func printAPIService(o map[string]any) []any {
	available := "Unknown"
	list, _ := tree.Map(o, "status")["conditions"].([]any)
	for _, c := range list {
		if m, ok := c.(map[string]any); ok && tree.Str(m, "type") == "Available" {
			available = tree.Str(m, "status")
		}
	}
	return []any{"Local", available, nil}
}
