package runtime

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

var (
	v1       = schema.GroupVersion{Group: "works.example.com", Version: "v1"}
	v1alpha1 = schema.GroupVersion{Group: "works.example.com", Version: "v1alpha1"}
)

// Widget is version v1, in which widgets are stored.
type Widget struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`
	Spec              WidgetSpec   `json:"spec"`
	Status            WidgetStatus `json:"status,omitzero"`
}

type WidgetSpec struct {
	Size  int    `json:"size"`
	Color string `json:"color,omitempty"`
}

type WidgetStatus struct {
	// By is the manager that reconciled the widget last.
	By string `json:"by,omitempty"`
	// Peers are the widgets of the same color, as the manager's index knows them.
	Peers      int                `json:"peers,omitempty"`
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}

type WidgetList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []Widget `json:"items"`
}

// OldWidget is version v1alpha1, which gave sizes with their unit: "7cm".
type OldWidget struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`
	Spec              OldWidgetSpec `json:"spec"`
	Status            WidgetStatus  `json:"status,omitzero"`
}

type OldWidgetSpec struct {
	Measure string `json:"measure"`
	Color   string `json:"color,omitempty"`
}

type OldWidgetList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []OldWidget `json:"items"`
}

func addTypes(s *runtime.Scheme) {
	s.AddKnownTypes(v1, &Widget{}, &WidgetList{})
	s.AddKnownTypeWithName(v1alpha1.WithKind("Widget"), &OldWidget{})
	s.AddKnownTypeWithName(v1alpha1.WithKind("WidgetList"), &OldWidgetList{})
	metav1.AddToGroupVersion(s, v1)
	metav1.AddToGroupVersion(s, v1alpha1)
}

func toOld(_ context.Context, from *Widget, to *OldWidget) error {
	to.ObjectMeta, to.Status = *from.ObjectMeta.DeepCopy(), from.Status.copy()
	to.Spec = OldWidgetSpec{Measure: strconv.Itoa(from.Spec.Size) + "cm", Color: from.Spec.Color}
	return nil
}

func fromOld(_ context.Context, from *OldWidget, to *Widget) error {
	number, found := strings.CutSuffix(from.Spec.Measure, "cm")
	size, err := strconv.Atoi(number)
	if err != nil || !found {
		return fmt.Errorf("measure %q is no number of cm", from.Spec.Measure)
	}
	to.ObjectMeta, to.Status = *from.ObjectMeta.DeepCopy(), from.Status.copy()
	to.Spec = WidgetSpec{Size: size, Color: from.Spec.Color}
	return nil
}

func (s WidgetStatus) copy() WidgetStatus {
	s.Conditions = append([]metav1.Condition(nil), s.Conditions...)
	return s
}

func (w *Widget) copy() Widget {
	c := *w
	c.ObjectMeta, c.Status = *w.ObjectMeta.DeepCopy(), w.Status.copy()
	return c
}

func (w *Widget) DeepCopyObject() runtime.Object { c := w.copy(); return &c }

func (l *WidgetList) DeepCopyObject() runtime.Object {
	c := *l
	c.Items = make([]Widget, len(l.Items))
	for i := range l.Items {
		c.Items[i] = l.Items[i].copy()
	}
	return &c
}

func (w *OldWidget) copy() OldWidget {
	c := *w
	c.ObjectMeta, c.Status = *w.ObjectMeta.DeepCopy(), w.Status.copy()
	return c
}

func (w *OldWidget) DeepCopyObject() runtime.Object { c := w.copy(); return &c }

func (l *OldWidgetList) DeepCopyObject() runtime.Object {
	c := *l
	c.Items = make([]OldWidget, len(l.Items))
	for i := range l.Items {
		c.Items[i] = l.Items[i].copy()
	}
	return &c
}
