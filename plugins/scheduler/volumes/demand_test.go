package volumes_test

import (
	"fmt"
	"testing"

	v1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/pintle-dev/pintle/plugins/scheduler/model"
	"github.com/pintle-dev/pintle/plugins/scheduler/volumes"
)

func size(n int) v1.ResourceList {
	return v1.ResourceList{v1.ResourceStorage: resource.MustParse(fmt.Sprintf("%dGi", n))}
}

func claim(name, class string, gi int) *v1.PersistentVolumeClaim {
	return &v1.PersistentVolumeClaim{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name, UID: types.UID(name)},
		Spec: v1.PersistentVolumeClaimSpec{
			StorageClassName: &class, AccessModes: []v1.PersistentVolumeAccessMode{v1.ReadWriteOnce}, Resources: v1.VolumeResourceRequirements{Requests: size(gi)},
		},
	}
}

func local(name, zone string, gi int) *v1.PersistentVolume {
	return &v1.PersistentVolume{
		ObjectMeta: metav1.ObjectMeta{Name: name, UID: types.UID(name)},
		Spec: v1.PersistentVolumeSpec{
			StorageClassName: "local", AccessModes: []v1.PersistentVolumeAccessMode{v1.ReadWriteOnce}, Capacity: size(gi),
			NodeAffinity: &v1.VolumeNodeAffinity{Required: &v1.NodeSelector{NodeSelectorTerms: []v1.NodeSelectorTerm{{
				MatchExpressions: []v1.NodeSelectorRequirement{{Key: "zone", Operator: v1.NodeSelectorOpIn, Values: []string{zone}}},
			}}}},
		},
		Status: v1.PersistentVolumeStatus{Phase: v1.VolumeAvailable},
	}
}

func class(name, provisioner string, zones ...string) *storagev1.StorageClass {
	wait := storagev1.VolumeBindingWaitForFirstConsumer
	c := &storagev1.StorageClass{ObjectMeta: metav1.ObjectMeta{Name: name}, Provisioner: provisioner, VolumeBindingMode: &wait}
	if len(zones) > 0 {
		c.AllowedTopologies = []v1.TopologySelectorTerm{{MatchLabelExpressions: []v1.TopologySelectorLabelRequirement{{Key: "zone", Values: zones}}}}
	}
	return c
}

func TestWhereClaimsCanHaveTheirVolumes(t *testing.T) {
	const bind = "node(s) didn't find available persistent volumes to bind"
	chosen := claim("c", "anywhere", 1)
	chosen.Annotations = map[string]string{"volume.kubernetes.io/selected-node": "n1"}
	gone := claim("c", "", 1)
	gone.Spec.VolumeName, gone.Annotations = "none", map[string]string{"pv.kubernetes.io/bind-completed": "yes"}
	tests := []struct {
		name   string
		claims []*v1.PersistentVolumeClaim
		pvs    []*v1.PersistentVolume
		want   map[string]string // by node
	}{
		{"made anywhere", []*v1.PersistentVolumeClaim{claim("c", "anywhere", 1)}, nil, map[string]string{"n1": "", "n2": ""}},
		{"made in a zone", []*v1.PersistentVolumeClaim{claim("c", "zoned", 1)}, nil, map[string]string{"n1": "", "n2": bind}},
		{"there", []*v1.PersistentVolumeClaim{claim("c", "local", 2)}, []*v1.PersistentVolume{local("v", "a", 2), local("w", "b", 1)}, map[string]string{"n1": "", "n2": bind}},
		{"one for two", []*v1.PersistentVolumeClaim{claim("c", "local", 1), claim("d", "local", 1)}, []*v1.PersistentVolume{local("v", "a", 2)}, map[string]string{"n1": bind}},
		{"two for two, the large one first", []*v1.PersistentVolumeClaim{claim("c", "local", 2), claim("d", "local", 1)},
			[]*v1.PersistentVolume{local("v", "a", 2), local("w", "a", 1)}, map[string]string{"n1": ""}},
		{"chosen", []*v1.PersistentVolumeClaim{chosen}, nil, map[string]string{"n1": "", "n2": bind}},
		{"gone", []*v1.PersistentVolumeClaim{gone}, nil, map[string]string{"n1": "node(s) unavailable due to one or more pvc(s) bound to non-existent pv(s)"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			x := volumes.New()
			x.ReplaceClaims(tt.claims)
			x.ReplaceVolumes(tt.pvs)
			x.ReplaceClasses([]*storagev1.StorageClass{class("anywhere", "a.example.com"), class("zoned", "a.example.com", "a"), class("local", "kubernetes.io/no-provisioner")})
			p := &model.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "p"}, Constraints: &model.Constraints{}}
			for _, c := range tt.claims {
				p.Claims = append(p.Claims, c.Name)
			}
			d, refusal := x.Demand(p, func(string) bool { return false })
			if refusal != "" {
				t.Fatal(refusal)
			}
			for name, want := range tt.want {
				zone := map[string]string{"n1": "a", "n2": "b"}[name]
				n := &v1.Node{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"zone": zone}}}
				if got := d.Misfit(n); got != want {
					t.Errorf("%s: %q, want %q", name, got, want)
				}
			}
		})
	}
}
