# What the chart stands on, in a Kubernetes cluster (EKS) of yours: machines for gateways, one with a card for vLLM, a
# PostgreSQL that only the cluster's machines reach, a file system for the shared state, and a bucket for backups.
#
#   export TF_VAR_database_password=$(openssl rand -hex 24)   # of which only the Secret keeps a copy
#   terraform init && terraform apply -var-file medium.tfvars
#
# The cluster, its network and its add-ons (CNI with network policies, EFS driver, NVIDIA device plugin) are yours.

terraform {
  required_version = ">= 1.11"
  required_providers {
    aws = { source = "hashicorp/aws", version = "~> 6.0" }
  }
}

provider "aws" {
  region = var.region
  default_tags { tags = { project = "insource" } }
}

data "aws_eks_cluster" "this" { name = var.cluster }

locals {
  vpc   = data.aws_eks_cluster.this.vpc_config[0].vpc_id
  nodes = data.aws_eks_cluster.this.vpc_config[0].cluster_security_group_id
}

# ------------------------------------------------------------------ machines

resource "aws_eks_node_group" "gateway" {
  cluster_name    = var.cluster
  node_group_name = "insource-gateway"
  node_role_arn   = var.node_role_arn
  subnet_ids      = var.private_subnets
  instance_types  = [var.gateway_machine]
  ami_type        = "AL2023_x86_64_STANDARD"

  scaling_config {
    desired_size = var.gateway_machines
    min_size     = var.gateway_machines
    max_size     = var.gateway_machines * 2
  }
  update_config { max_unavailable = 1 }
}

resource "aws_eks_node_group" "gpu" {
  count           = var.gpu_machines > 0 ? 1 : 0
  cluster_name    = var.cluster
  node_group_name = "insource-gpu"
  node_role_arn   = var.node_role_arn
  subnet_ids      = var.private_subnets
  instance_types  = [var.gpu_machine]
  ami_type        = "AL2023_x86_64_NVIDIA"
  disk_size       = 200

  scaling_config {
    desired_size = var.gpu_machines
    min_size     = var.gpu_machines
    max_size     = var.gpu_machines
  }
  taint {
    key    = "nvidia.com/gpu"
    value  = "true"
    effect = "NO_SCHEDULE"
  }
}

# ------------------------------------------------------------------ the database

resource "aws_security_group" "database" {
  name        = "insource-database"
  description = "PostgreSQL, from the machines of the cluster only"
  vpc_id      = local.vpc
}

resource "aws_vpc_security_group_ingress_rule" "database" {
  security_group_id            = aws_security_group.database.id
  referenced_security_group_id = local.nodes
  ip_protocol                  = "tcp"
  from_port                    = 5432
  to_port                      = 5432
}

resource "aws_db_subnet_group" "database" {
  name       = "insource"
  subnet_ids = var.private_subnets
}

resource "aws_db_parameter_group" "database" {
  name   = "insource"
  family = "postgres17"
  parameter {
    name  = "rds.force_ssl"
    value = "1"
  }
}

# A password that RDS manages would be another one every seven days, and the Secret would still have the first.
resource "aws_db_instance" "database" {
  identifier                = "insource"
  engine                    = "postgres"
  engine_version            = "17"
  instance_class            = var.database_class
  allocated_storage         = var.database_gb
  storage_type              = "gp3"
  storage_encrypted         = true
  multi_az                  = var.database_standby
  db_name                   = "insource"
  username                  = "insource"
  password_wo               = var.database_password
  password_wo_version       = var.database_password_version
  db_subnet_group_name      = aws_db_subnet_group.database.name
  parameter_group_name      = aws_db_parameter_group.database.name
  vpc_security_group_ids    = [aws_security_group.database.id]
  publicly_accessible       = false
  backup_retention_period   = 14
  copy_tags_to_snapshot     = true
  deletion_protection       = true
  skip_final_snapshot       = false
  final_snapshot_identifier = "insource-last"
}

# ------------------------------------------------------------------ the shared state: releases, reports, the spool

resource "aws_security_group" "state" {
  name        = "insource-state"
  description = "NFS, from the machines of the cluster only"
  vpc_id      = local.vpc
}

resource "aws_vpc_security_group_ingress_rule" "state" {
  security_group_id            = aws_security_group.state.id
  referenced_security_group_id = local.nodes
  ip_protocol                  = "tcp"
  from_port                    = 2049
  to_port                      = 2049
}

resource "aws_efs_file_system" "state" {
  encrypted        = true
  throughput_mode  = "elastic"
  performance_mode = "generalPurpose"
}

resource "aws_efs_mount_target" "state" {
  for_each        = toset(var.private_subnets)
  file_system_id  = aws_efs_file_system.state.id
  subnet_id       = each.value
  security_groups = [aws_security_group.state.id]
}

# ------------------------------------------------------------------ backups

resource "aws_s3_bucket" "backups" { bucket = var.bucket }

resource "aws_s3_bucket_public_access_block" "backups" {
  bucket                  = aws_s3_bucket.backups.id
  block_public_acls       = true
  block_public_policy     = true
  ignore_public_acls      = true
  restrict_public_buckets = true
}

resource "aws_s3_bucket_versioning" "backups" {
  bucket = aws_s3_bucket.backups.id
  versioning_configuration { status = "Enabled" }
}

resource "aws_s3_bucket_server_side_encryption_configuration" "backups" {
  bucket = aws_s3_bucket.backups.id
  rule {
    apply_server_side_encryption_by_default { sse_algorithm = "aws:kms" }
  }
}
