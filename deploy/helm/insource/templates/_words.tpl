{{- define "insource.name" -}}
{{- if contains "insource" .Release.Name }}{{ .Release.Name | trunc 50 | trimSuffix "-" }}{{ else }}{{ printf "%s-insource" .Release.Name | trunc 50 | trimSuffix "-" }}{{ end }}
{{- end }}

{{- define "insource.select" -}}
app.kubernetes.io/name: insource
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "insource.labels" -}}
{{ include "insource.select" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end }}

{{- define "insource.image" -}}
{{ .Values.image.repository }}{{ if .Values.image.digest }}@{{ .Values.image.digest }}{{ else }}:{{ .Values.image.tag | default .Chart.AppVersion }}{{ end }}
{{- end }}

{{- /* Both the file insource.toml and the network policy come from the same values. */ -}}
{{- define "insource.toml" -}}
{{- $audit := dict }}
{{- range $key, $value := .Values.audit }}
{{- $_ := set $audit $key $value }}
{{- end }}
{{- if and .Values.gateway.spool .Values.store.secret }}
{{- $_ := set $audit "spool" "/spool" }}
{{- end }}
{{- if $audit }}
{{- if regexMatch "(?m)^[ \t]*\\[[ \t]*audit[ \t]*\\]" .Values.settings }}
{{- fail "[audit] of insource.toml is written from the values: put what settings has of it into audit" }}
{{- end }}
[audit]
{{- range $key, $value := $audit }}
{{ $key }} = {{ $value | toJson }}
{{- end }}
{{ end }}
{{- $regions := dict }}
{{- if and .Values.vllm.enabled .Values.network.serviceCidr }}
{{- $_ := set $regions "premises" (list .Values.network.serviceCidr) }}
{{- end }}
{{- range .Values.network.destinations }}
{{- $_ := set $regions .region (concat (get $regions .region | default list) (list .cidr) (.names | default list)) }}
{{- end }}
{{- if not (hasKey $regions "premises") }}
{{- $_ := set $regions "premises" list }}
{{- end }}
[networks]
{{- range $region, $places := $regions }}
{{ $region | quote }} = {{ $places | uniq | toJson }}
{{- end }}
{{ if .Values.vllm.enabled }}
[engines.tier2]
kind = "vllm"
replicas = [
{{- range until (int .Values.vllm.replicas) }}
  "http://{{ include "insource.name" $ }}-vllm-{{ . }}:8000/v1",
{{- end }}
]
model = "tier2"
region = "premises"
{{- if .Values.vllm.keySecret }}
api_key_env = "TIER2_KEY"
{{- end }}
{{ end }}
{{ .Values.settings }}
{{- end }}

{{- define "insource.pod" -}}
serviceAccountName: {{ include "insource.name" . }}
automountServiceAccountToken: false
enableServiceLinks: false
{{- with .Values.image.pullSecrets }}
imagePullSecrets:
{{- range . }}
  - name: {{ . }}
{{- end }}
{{- end }}
securityContext:
  runAsNonRoot: true
  runAsUser: 10001
  runAsGroup: 10001
  fsGroup: 10001
  fsGroupChangePolicy: OnRootMismatch
  seccompProfile: {type: RuntimeDefault}
volumes:
  - name: workspace
    configMap: {name: {{ include "insource.name" . }}}
  - name: state
    persistentVolumeClaim: {claimName: {{ .Values.state.claim | default (include "insource.name" .) }}}
  - name: tmp
    emptyDir: {sizeLimit: 1Gi}
{{- with .Values.gateway.tlsSecret }}
  - name: tls
    secret: {secretName: {{ . }}, defaultMode: 0440}
{{- end }}
{{- end }}

{{- define "insource.container" -}}
image: {{ include "insource.image" . | quote }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: {drop: [ALL]}
env:
  - {name: INSOURCE_CACHE, value: /workspace/.insource/models}
{{- with .Values.store.secret }}
  - name: INSOURCE_STORE_URL
    valueFrom: {secretKeyRef: {name: {{ . }}, key: INSOURCE_STORE_URL}}
{{- end }}
{{- if .Values.store.ca }}
  - {name: PGSSLROOTCERT, value: /workspace/database-ca.pem}
{{- end }}
{{- if and .Values.vllm.enabled .Values.vllm.keySecret }}
  - name: TIER2_KEY
    valueFrom: {secretKeyRef: {name: {{ .Values.vllm.keySecret }}, key: key}}
{{- end }}
{{- with .Values.secrets }}
envFrom:
{{- range . }}
  - secretRef: {name: {{ . }}}
{{- end }}
{{- end }}
volumeMounts:
  - {name: workspace, mountPath: /workspace/insource.toml, subPath: insource.toml, readOnly: true}
{{- range $task, $_ := .Values.tasks }}
  - {name: workspace, mountPath: /workspace/tasks/{{ $task }}.toml, subPath: task.{{ $task }}.toml, readOnly: true}
{{- end }}
{{- range $file, $_ := .Values.labels }}
  - {name: workspace, mountPath: /workspace/labels/{{ $file }}, subPath: labels.{{ $file }}, readOnly: true}
{{- end }}
{{- if .Values.store.ca }}
  - {name: workspace, mountPath: /workspace/database-ca.pem, subPath: database-ca.pem, readOnly: true}
{{- end }}
  - {name: state, mountPath: /workspace/.insource, subPath: state}
  - {name: state, mountPath: /spool, subPath: spool}
  - {name: tmp, mountPath: /tmp}
{{- end }}
