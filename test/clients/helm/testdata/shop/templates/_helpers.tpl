{{- define "shop.labels" -}}
{app.kubernetes.io/name: shop, app.kubernetes.io/instance: {{ .Release.Name }}, app.kubernetes.io/managed-by: {{ .Release.Service }}, helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}}
{{- end -}}
{{- define "shop.pod" -}}
serviceAccountName: {{ .Release.Name }}
priorityClassName: {{ .Release.Name }}-{{ .Release.Namespace }}
containers:
  - name: main
    image: {{ .image | default .Values.sideImage }}
    env:
      - name: COLOR
        valueFrom: {configMapKeyRef: {name: {{ .Release.Name }}, key: color}}
    ports: [{name: http, containerPort: 8080}]
    resources: {requests: {cpu: 10m, memory: 16Mi}, limits: {cpu: 100m, memory: 64Mi}}
{{- end -}}
