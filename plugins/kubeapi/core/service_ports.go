package core

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/pintle-dev/pintle/plugins/kubeapi/internal/tree"
	"github.com/pintle-dev/pintle/sdk/resource"
)

// errConflict marks refusals that a newer reading might not give.
var errConflict = errors.New("taken")

// allocatePorts gives a service the node ports that it lacks, and takes those it asks for.
func (s *services) allocatePorts(ctx context.Context, r *resource.Request, a *allocation) error {
	spec, was := tree.Map(r.Object, "spec"), tree.Map(r.Old, "spec")
	if !asksForPorts(spec, was) {
		return nil
	}
	name := tree.Str(tree.Map(r.Object, "metadata"), "name")
	owner := ""
	if name != "" {
		owner = r.Namespace + "/" + name
	}
	var errs field.ErrorList
	var given map[string]any
	var err error
	a.ports, err = s.ports.reading(func(take func(int, string)) error { return listPorts(ctx, r.Reader, take) }, func() error {
		given = tree.CopyMap(spec)
		if errs = s.takePorts(given, was, owner); len(errs) > 0 {
			return errConflict
		}
		return nil
	}, r.DryRun)
	switch {
	case len(errs) > 0:
		return apierrors.NewInvalid(serviceKind, name, errs)
	case err != nil:
		return err
	}
	r.Object["spec"] = given
	return nil
}

// portsOf are the node ports of a service.
func portsOf(spec map[string]any) []int64 {
	var out []int64
	for _, v := range tree.List(spec, "ports") {
		if n := tree.Int0(tree.Object(v), "nodePort"); n != 0 {
			out = append(out, n)
		}
	}
	if n := tree.Int0(spec, "healthCheckNodePort"); n != 0 {
		out = append(out, n)
	}
	return out
}

// asksForPorts reports whether a service is to get node ports that it does not have.
func asksForPorts(spec, was map[string]any) bool {
	if !external(spec) {
		return false
	}
	have := portsOf(was)
	for _, n := range portsOf(spec) {
		if !slices.Contains(have, n) {
			return true
		}
	}
	lacks := func(v any) bool { return tree.Object(v) != nil && tree.Int0(tree.Object(v), "nodePort") == 0 }
	return needsPorts(spec) && slices.ContainsFunc(tree.List(spec, "ports"), lacks) ||
		needsHealthPort(spec) && tree.Int0(spec, "healthCheckNodePort") == 0
}

// listPorts tells which node ports the services of the cluster have.
func listPorts(ctx context.Context, reader resource.Reader, take func(int, string)) error {
	all, err := reader.List(ctx, servicesResource, "")
	if err != nil {
		return fmt.Errorf("listing services: %w", err)
	}
	for _, o := range all {
		meta := tree.Map(o, "metadata")
		for _, n := range portsOf(tree.Map(o, "spec")) {
			take(int(n), tree.Str(meta, "namespace")+"/"+tree.Str(meta, "name"))
		}
	}
	return nil
}

func (s *services) takePorts(spec, was map[string]any, owner string) field.ErrorList {
	path := field.NewPath("spec", "ports")
	errs := s.takeNamed(spec, owner, path)
	if needsPorts(spec) {
		for i, v := range tree.List(spec, "ports") {
			p := tree.Object(v)
			if p == nil || tree.Int0(p, "nodePort") != 0 {
				continue
			}
			if n := shared(spec, p); was == nil && n != 0 {
				p["nodePort"] = n
				continue
			}
			n, err := s.ports.next(owner)
			if err != nil {
				errs = append(errs, field.InternalError(path.Index(i).Child("nodePort"), fmt.Errorf("failed to allocate a nodePort: %w", err)))
				continue
			}
			p["nodePort"] = int64(n)
		}
	}
	if needsHealthPort(spec) {
		at := field.NewPath("spec", "healthCheckNodePort")
		if n := tree.Int0(spec, "healthCheckNodePort"); n != 0 {
			if err := s.ports.port(int(n), owner); err != nil {
				errs = append(errs, field.Invalid(at, n, s.portMessage(err)))
			}
		} else if n, err := s.ports.next(owner); err != nil {
			errs = append(errs, field.InternalError(at, fmt.Errorf("failed to allocate a HealthCheck NodePort: %w", err)))
		} else {
			spec["healthCheckNodePort"] = int64(n)
		}
	}
	return errs
}

// takeNamed takes the node ports that a service asks for. A number may be used twice by one
// service, for different protocols.
func (s *services) takeNamed(spec map[string]any, owner string, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	used := map[int64][]string{}
	for i, v := range tree.List(spec, "ports") {
		p := tree.Object(v)
		n := tree.Int0(p, "nodePort")
		if n == 0 {
			continue
		}
		protocol := tree.Str(p, "protocol")
		if protocols := used[n]; len(protocols) > 0 {
			if slices.Contains(protocols, protocol) {
				errs = append(errs, field.Invalid(path.Index(i).Child("nodePort"), n, errPortTaken.Error()))
			}
			used[n] = append(protocols, protocol)
			continue
		}
		used[n] = []string{protocol}
		if err := s.ports.port(int(n), owner); err != nil {
			errs = append(errs, field.Invalid(path.Index(i).Child("nodePort"), n, s.portMessage(err)))
		}
	}
	return errs
}

// shared is the node port of the same port of a new service with another protocol: both get
// one number, as those who ask for DNS expect.
func shared(spec, p map[string]any) int64 {
	for _, v := range tree.List(spec, "ports") {
		o := tree.Object(v)
		if n := tree.Int0(o, "nodePort"); n != 0 && tree.Int0(o, "port") == tree.Int0(p, "port") && tree.Str(o, "protocol") != tree.Str(p, "protocol") {
			return n
		}
	}
	return 0
}

func (s *services) portMessage(err error) string {
	if errors.Is(err, errNotInRange) {
		return "provided port is not in the valid range. The range of valid ports is " +
			strconv.Itoa(s.ports.first) + "-" + strconv.Itoa(s.ports.first+s.ports.count-1)
	}
	return err.Error()
}
