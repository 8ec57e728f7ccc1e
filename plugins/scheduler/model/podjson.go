package model

import (
	"encoding/json"
	"fmt"
	"sort"
	"strconv"

	"github.com/tidwall/gjson"
	v1 "k8s.io/api/core/v1"
	resourcehelper "k8s.io/component-helpers/resource"
)

// DecodePod reads a pod from JSON known to be valid.
func DecodePod(raw string) (*Pod, error) {
	p := &Pod{}
	var spec, status gjson.Result
	gjson.Parse(raw).ForEach(func(k, v gjson.Result) bool {
		switch k.Str {
		case "metadata":
			decodeMeta(v, &p.ObjectMeta)
		case "spec":
			spec = v
		case "status":
			status = v
		}
		return true
	})
	decodeStatus(status, p)
	if err := decodeSpec(spec, p); err != nil {
		return nil, fmt.Errorf("pod %s/%s: %w", p.Namespace, p.Name, err)
	}
	return p, nil
}

func decodeStatus(status gjson.Result, p *Pod) {
	status.ForEach(func(k, v gjson.Result) bool {
		switch k.Str {
		case "phase":
			p.Phase = v1.PodPhase(intern(v.Str))
		case "conditions":
			v.ForEach(func(_, c gjson.Result) bool {
				if c.Get("type").Str != string(v1.PodScheduled) {
					return true
				}
				if c.Get("status").Str == string(v1.ConditionFalse) {
					p.Reason, p.Message = intern(c.Get("reason").Str), intern(c.Get("message").String())
				}
				return false
			})
		}
		return true
	})
}

// specReader gathers what one pass over a spec finds.
type specReader struct {
	pod  *Pod
	c    Constraints
	used bool // c holds something
	err  error
	// complex is set where requests are more than a sum over containers.
	complex bool
}

func decodeSpec(spec gjson.Result, p *Pod) error {
	r := specReader{pod: p}
	var selector, affinity, tolerations string
	spec.ForEach(func(k, v gjson.Result) bool {
		switch k.Str {
		case "nodeName":
			p.NodeName = intern(v.Str)
		case "schedulerName":
			p.SchedulerName = intern(v.Str)
		case "priority":
			p.Priority = int32(v.Int())
		case "containers":
			r.containers(v)
		case "initContainers":
			r.complex = r.complex || len(v.Array()) > 0
			r.initPorts(v)
		case "overhead", "resources":
			r.complex = true
		case "nodeSelector":
			if r.c.NodeSelector = stringMap(v); r.c.NodeSelector != nil {
				selector, r.used = v.Raw, true
			}
		case "affinity":
			affinity = r.affinity(v)
		case "tolerations":
			tolerations = v.Raw
			r.tolerations(v)
		case "topologySpreadConstraints":
			r.unmarshal("spec.topologySpreadConstraints", v, &r.c.Spread)
		case "schedulingGates":
			r.c.Gated = len(v.Array()) > 0
			r.used = r.used || r.c.Gated
		case "volumes":
			r.volumes(v)
		case "resourceClaims":
			r.c.DeviceClaims = len(v.Array()) > 0
			r.used = r.used || r.c.DeviceClaims
		}
		return r.err == nil
	})
	if r.err != nil {
		return r.err
	}
	if r.complex {
		if err := effectiveRequests(spec.Raw, p); err != nil {
			return err
		}
	}
	p.Load = LoadOf(&p.Requests)
	p.Constraints = none
	if r.used {
		c := r.c
		p.Constraints = &c
	}
	p.Class = class(&p.Requests, selector, affinity, tolerations)
	return nil
}

func (r *specReader) unmarshal(path string, v gjson.Result, into any) {
	if !v.Exists() || v.Type == gjson.Null {
		return
	}
	if err := json.Unmarshal([]byte(v.Raw), into); err != nil {
		r.err = fmt.Errorf("%s: %w", path, err)
		return
	}
	r.used = true
}

func (r *specReader) containers(list gjson.Result) {
	list.ForEach(func(_, c gjson.Result) bool {
		c.ForEach(func(k, v gjson.Result) bool {
			switch k.Str {
			case "resources":
				r.requests(v.Get("requests"))
			case "ports":
				r.ports(v)
			}
			return r.err == nil
		})
		return r.err == nil
	})
}

func (r *specReader) initPorts(list gjson.Result) {
	list.ForEach(func(_, c gjson.Result) bool {
		if c.Get("restartPolicy").Str == string(v1.ContainerRestartPolicyAlways) {
			r.ports(c.Get("ports"))
		}
		return true
	})
}

func (r *specReader) requests(requests gjson.Result) {
	var one Resources
	requests.ForEach(func(k, v gjson.Result) bool {
		r.err = one.Set(v1.ResourceName(intern(k.Str)), v.String())
		return r.err == nil
	})
	r.pod.Requests.Add(&one)
}

func (r *specReader) ports(list gjson.Result) {
	list.ForEach(func(_, port gjson.Result) bool {
		n := int32(port.Get("hostPort").Int())
		if n == 0 {
			return true
		}
		h := HostPort{Port: n, Protocol: v1.Protocol(intern(port.Get("protocol").Str)), IP: intern(port.Get("hostIP").Str)}
		if h.Protocol == "" {
			h.Protocol = v1.ProtocolTCP
		}
		if h.IP == "0.0.0.0" || h.IP == "::" {
			h.IP = ""
		}
		r.c.HostPorts = append(r.c.HostPorts, h)
		r.used = true
		return true
	})
}

// affinity returns the text of the node affinity, which is part of the class.
func (r *specReader) affinity(v gjson.Result) string {
	if !v.IsObject() {
		return ""
	}
	var a v1.Affinity
	r.unmarshal("spec.affinity", v, &a)
	r.c.NodeAffinity, r.c.PodAffinity, r.c.AntiAffinity = a.NodeAffinity, a.PodAffinity, a.PodAntiAffinity
	if a.NodeAffinity == nil {
		return ""
	}
	return v.Get("nodeAffinity").Raw
}

func (r *specReader) tolerations(list gjson.Result) {
	list.ForEach(func(_, t gjson.Result) bool {
		var one v1.Toleration
		t.ForEach(func(k, v gjson.Result) bool {
			switch k.Str {
			case "key":
				one.Key = intern(v.Str)
			case "operator":
				one.Operator = v1.TolerationOperator(intern(v.Str))
			case "value":
				one.Value = intern(v.Str)
			case "effect":
				one.Effect = v1.TaintEffect(intern(v.Str))
			}
			return true
		})
		r.c.Tolerations = append(r.c.Tolerations, one)
		r.used = true
		return true
	})
}

func (r *specReader) volumes(list gjson.Result) {
	list.ForEach(func(_, v gjson.Result) bool {
		switch {
		case v.Get("persistentVolumeClaim").Exists():
			r.c.Claims = append(r.c.Claims, cloned(v.Get("persistentVolumeClaim.claimName")))
		case v.Get("ephemeral").Exists():
			name := r.pod.Name + "-" + v.Get("name").Str
			r.c.Claims, r.c.EphemeralClaims = append(r.c.Claims, name), append(r.c.EphemeralClaims, name)
		default:
			return true
		}
		r.used = true
		return true
	})
}

// effectiveRequests takes the general rule from the library where a sum is not enough.
func effectiveRequests(spec string, p *Pod) error {
	var pod v1.Pod
	if err := json.Unmarshal([]byte(spec), &pod.Spec); err != nil {
		return fmt.Errorf("spec: %w", err)
	}
	p.Requests = FromList(resourcehelper.PodRequests(&pod, resourcehelper.PodResourcesOptions{}))
	return nil
}

func class(r *Resources, selector, affinity, tolerations string) string {
	b := make([]byte, 0, 64+len(selector)+len(affinity)+len(tolerations))
	for _, n := range []int64{r.MilliCPU, r.Memory, r.EphemeralStorage} {
		b = append(strconv.AppendInt(b, n, 36), ' ')
	}
	if len(r.Scalar) > 0 {
		names := make([]string, 0, len(r.Scalar))
		for name := range r.Scalar {
			names = append(names, string(name))
		}
		sort.Strings(names)
		for _, name := range names {
			b = append(b, name...)
			b = append(strconv.AppendInt(append(b, '='), r.Scalar[v1.ResourceName(name)], 36), ' ')
		}
	}
	for _, text := range []string{selector, affinity, tolerations} {
		b = append(append(b, '|'), text...)
	}
	return intern(string(b))
}
