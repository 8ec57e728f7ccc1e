package podspec

import (
	"strings"

	"github.com/pintle-dev/pintle/plugins/kubeapi/internal/tree"
)

// Default sets what depends on other fields, in the spec of a pod or of a template.
func Default(spec map[string]any) {
	if spec == nil {
		return
	}
	if name := tree.Str(spec, "serviceAccountName"); name != "" {
		spec["serviceAccount"] = name
	} else if name := tree.Str(spec, "serviceAccount"); name != "" {
		spec["serviceAccountName"] = name
	}
	for _, list := range [...]string{"initContainers", "containers", "ephemeralContainers"} {
		for _, v := range tree.List(spec, list) {
			defaultContainer(tree.Object(v))
		}
	}
	for _, v := range tree.List(spec, "volumes") {
		defaultVolume(tree.Object(v))
	}
}

func defaultContainer(c map[string]any) {
	if c == nil {
		return
	}
	if tree.Str(c, "imagePullPolicy") == "" {
		c["imagePullPolicy"] = pullPolicy(tree.Str(c, "image"))
	}
	for _, key := range [...]string{"livenessProbe", "readinessProbe", "startupProbe"} {
		if p := tree.Map(c, key); p != nil {
			defaultProbe(p)
		}
	}
}

// defaultProbe gives zeros the meaning of absent fields, which they have in Go.
func defaultProbe(p map[string]any) {
	for _, d := range [...]struct {
		key   string
		value int64
	}{{"timeoutSeconds", 1}, {"periodSeconds", 10}, {"successThreshold", 1}, {"failureThreshold", 3}} {
		if tree.Int0(p, d.key) == 0 {
			p[d.key] = d.value
		}
	}
	if g := tree.Map(p, "grpc"); g != nil {
		tree.SetDefault(g, "service", "")
	}
}

func defaultVolume(v map[string]any) {
	if v == nil {
		return
	}
	if len(v) == 0 || len(v) == 1 && v["name"] != nil {
		v["emptyDir"] = map[string]any{}
	}
	if image := tree.Map(v, "image"); image != nil && tree.Str(image, "pullPolicy") == "" {
		image["pullPolicy"] = pullPolicy(tree.Str(image, "reference"))
	}
}

// pullPolicy returns Always for the tag "latest", said or implied, else IfNotPresent.
func pullPolicy(image string) string {
	name, _, digested := strings.Cut(image, "@")
	base := name[strings.LastIndexByte(name, '/')+1:]
	_, tag, tagged := strings.Cut(base, ":")
	if base != "" && (tag == "latest" || !tagged && !digested) {
		return "Always"
	}
	return "IfNotPresent"
}

// DefaultPod sets what is set in pods and not in templates.
func DefaultPod(spec map[string]any) {
	Default(spec)
	tree.SetDefault(spec, "enableServiceLinks", true)
	host := tree.Bool(spec, "hostNetwork")
	for _, list := range [...]string{"initContainers", "containers"} {
		for _, v := range tree.List(spec, list) {
			c := tree.Object(v)
			requestsFromLimits(tree.Map(c, "resources"))
			if host {
				hostPorts(c)
			}
		}
	}
	if r := tree.Map(spec, "resources"); r != nil && tree.Map(r, "limits") != nil {
		podRequests(spec, r)
	}
}

func requestsFromLimits(r map[string]any) {
	limits := tree.Map(r, "limits")
	if limits == nil {
		return
	}
	requests := tree.Ensure(r, "requests")
	for k, v := range limits {
		tree.SetDefault(requests, k, v)
	}
}

func hostPorts(c map[string]any) {
	for _, v := range tree.List(c, "ports") {
		if p := tree.Object(v); p != nil && tree.Int0(p, "hostPort") == 0 {
			p["hostPort"] = p["containerPort"]
		}
	}
}

// podRequests sets the pod-level requests: what all containers together ask for, and
// where none asks, the pod's limit.
func podRequests(spec, resources map[string]any) {
	limits := tree.Map(resources, "limits")
	requests := tree.Map(resources, "requests")
	sums := containerRequests(spec)
	set := func(key string, value any) {
		if requests == nil {
			requests = tree.Ensure(resources, "requests")
		}
		tree.SetDefault(requests, key, value)
	}
	for _, key := range [...]string{"cpu", "memory"} {
		if sum, ok := sums[key]; ok {
			set(key, sum.String())
		}
	}
	for key, v := range limits {
		if key == "cpu" || key == "memory" || strings.HasPrefix(key, "hugepages-") {
			set(key, v)
		}
	}
}
