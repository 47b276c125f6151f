variable "region" {
  type        = string
  description = "Where everything lies."
}

variable "cluster" {
  type        = string
  description = "The EKS cluster that is there."
}

variable "private_subnets" {
  type        = list(string)
  description = "Subnets without a way in from the internet, in two zones at least."
}

variable "node_role_arn" {
  type        = string
  description = "The role of the cluster's machines."
}

variable "bucket" {
  type        = string
  description = "The name of the bucket for backups; it is nobody else's in the world."
}

variable "gateway_machine" {
  type        = string
  description = "A type of the table of machines that insource has: c7i.xlarge is aws-c7i.xlarge there."
  default     = "c7i.xlarge"
}

variable "gateway_machines" {
  type        = number
  description = "One for each replica of the gateway."
  default     = 2
}

variable "gpu_machine" {
  type        = string
  description = "One card each."
  default     = "g6.xlarge"
}

variable "gpu_machines" {
  type        = number
  description = "One for each replica of vLLM; 0 where there is none."
  default     = 0
}

variable "database_class" {
  type        = string
  description = "The database's machine."
  default     = "db.m7i.large"
}

variable "database_password" {
  type        = string
  description = "The password of INSOURCE_STORE_URL, in TF_VAR_database_password. It is in no file of Terraform's, and stays until you change it."
  sensitive   = true
  ephemeral   = true
}

variable "database_password_version" {
  type        = number
  description = "One more than before where there is another database_password."
  default     = 1
}

variable "database_gb" {
  type        = number
  description = "A call takes about a kilobyte: ten million of them, with room."
  default     = 100
}

variable "database_standby" {
  type        = bool
  description = "A second database in another zone that takes over."
  default     = true
}
