//! `wallet.v1.WalletService`: accounts, transfers, reservations, statements.

use std::sync::Arc;

use arus_engine::{
    Command, Engine, Position, Refusal, Reply,
    ledger::{
        commands::{Deposit, Request as Asked, Withdraw},
        entry::Committed,
    },
    money::Lsn,
};
use arus_proto::{
    common::v1 as common,
    wallet::v1::{self as wire, wallet_service_server::WalletService},
};
use tonic::{Request, Response, Status, metadata::MetadataMap};

use super::decide::decide;
use crate::{
    convert::{PAGE_BYTES_MAX, TENANT, listed, money, operation, operations, statements, transfers, wallet as convert},
    observe::{Replayed, ServiceCells, rpc},
    status::status,
};

/// The methods, as metrics name them.
pub const METHODS: [&str; 19] = [
    "OpenAccount",
    "GetAccount",
    "ListAccounts",
    "Deposit",
    "Withdraw",
    "Reserve",
    "GetReservation",
    "ListReservations",
    "Capture",
    "Release",
    "CreateTransfer",
    "GetTransfer",
    "PostTransfer",
    "VoidTransfer",
    "ReverseOperation",
    "GetOperation",
    "UpdateAccount",
    "GetStatement",
    "ListEntries",
];

/// The service.
#[derive(Clone)]
pub struct Wallets {
    /// What decides.
    pub engine: Engine,
    /// What is counted.
    pub cells: Arc<ServiceCells>,
}

impl Wallets {
    /// Decides a command and turns its entry into the method's answer.
    async fn change<T>(
        &self,
        method: &'static str,
        (metadata, tx_id): (&MetadataMap, &str),
        command: Result<Command, Refusal>,
        answer: impl FnOnce(Reply) -> T,
    ) -> Result<Response<T>, Status> {
        let mut replayed = false;
        let decided = rpc(&self.engine, &self.cells, method, (metadata, tx_id), async {
            let command = command.map_err(|refusal| status(&refusal))?;
            let reply = decide(&self.engine, command, metadata).await?;
            replayed = reply.replayed;
            Ok(answer(reply))
        });
        let mut response = decided.await?;
        response.extensions_mut().insert(Replayed(replayed));
        Ok(response)
    }

    /// Decides a deposit or a withdrawal; says the balance after it.
    async fn funds(
        &self,
        method: &'static str,
        (metadata, tx_id): (&MetadataMap, &str),
        command: Result<Command, Refusal>,
    ) -> Result<(common::Operation, Option<common::Money>), Status> {
        let decided = rpc(&self.engine, &self.cells, method, (metadata, tx_id), async {
            let command = command.map_err(|refusal| status(&refusal))?;
            let Reply { committed, replayed } = decide(&self.engine, command, metadata).await?;
            let balance = self.engine.balance_after(&committed).await;
            Ok((operation(&committed, replayed), balance.map(money)))
        });
        decided.await.map(Response::into_inner)
    }
}

/// The answer to a deposit or a withdrawal.
fn funded<T>(operation: common::Operation, answer: impl FnOnce(common::Operation) -> T) -> Response<T> {
    let replayed = operation.replayed;
    let mut response = Response::new(answer(operation));
    response.extensions_mut().insert(Replayed(replayed));
    response
}

#[tonic::async_trait]
impl WalletService for Wallets {
    async fn open_account(
        &self,
        request: Request<wire::OpenAccountRequest>,
    ) -> Result<Response<wire::OpenAccountResponse>, Status> {
        let (metadata, _, request) = request.into_parts();
        let answer = |reply: Reply| wire::OpenAccountResponse {
            operation: Some(operation(&reply.committed, reply.replayed)),
            account: convert::decided_account(&reply.committed),
        };
        self.change("OpenAccount", (&metadata, &request.tx_id), convert::open(&request), answer).await
    }

    async fn get_account(
        &self,
        request: Request<wire::GetAccountRequest>,
    ) -> Result<Response<wire::GetAccountResponse>, Status> {
        let (metadata, _, request) = request.into_parts();
        rpc(&self.engine, &self.cells, "GetAccount", (&metadata, ""), async {
            let id = convert::readable_account(&request.account_id).map_err(|refusal| status(&refusal))?;
            let as_of =
                statements::as_of(&request, self.engine.clock().latest()).map_err(|refusal| status(&refusal))?;
            let view = self.engine.account(TENANT, &id).await.map_err(|refusal| status(&refusal))?;
            let balance_as_of = match as_of {
                None => None,
                Some(at) => {
                    let held = self.engine.balance_as_of(TENANT, &id, at).await.map_err(|refusal| status(&refusal))?;
                    Some(statements::balance_as_of(held))
                }
            };
            Ok(wire::GetAccountResponse { account: Some(convert::account(&view)), balance_as_of })
        })
        .await
    }

    async fn list_accounts(
        &self,
        request: Request<wire::ListAccountsRequest>,
    ) -> Result<Response<wire::ListAccountsResponse>, Status> {
        let (metadata, _, request) = request.into_parts();
        rpc(&self.engine, &self.cells, "ListAccounts", (&metadata, ""), async {
            let (id, ask) = convert::list_accounts(&request).map_err(|refusal| status(&refusal))?;
            let owner = self.engine.owner(TENANT, &id).await.map_err(|refusal| status(&refusal))?;
            // In order of opening: a token is the last account's opening.
            let after = if request.page_token.is_empty() { Lsn(0) } else { ask.below.lsn };
            let rest: Vec<_> = owner.accounts.iter().filter(|owned| owned.opened_lsn > after).collect();
            let mut accounts = Vec::with_capacity(rest.len().min(ask.size));
            let mut room = PAGE_BYTES_MAX;
            for owned in rest.iter().take(ask.size) {
                let view = self.engine.account(TENANT, &owned.account).await.map_err(|refusal| status(&refusal))?;
                let (account, bytes) = listed(convert::account(&view));
                let Some(left) = room.checked_sub(bytes) else { break };
                room = left;
                accounts.push(account);
            }
            let last = rest.get(accounts.len().saturating_sub(1)).filter(|_| rest.len() > accounts.len());
            Ok(wire::ListAccountsResponse {
                accounts,
                next_page_token: ask.token(last.map(|owned| Position::before(owned.opened_lsn))),
                default_account_id: owner.default_account().map_or_else(String::new, |o| o.account.to_string()),
            })
        })
        .await
    }

    async fn deposit(&self, request: Request<wire::DepositRequest>) -> Result<Response<wire::DepositResponse>, Status> {
        let (metadata, _, r) = request.into_parts();
        let command =
            convert::funds(&r.tx_id, &r.account_id, r.amount.as_ref(), &r.reference, |t| Asked::Deposit(Deposit(t)));
        let (operation, balance_after) = self.funds("Deposit", (&metadata, &r.tx_id), command).await?;
        Ok(funded(operation, |operation| wire::DepositResponse { operation: Some(operation), balance_after }))
    }

    async fn withdraw(
        &self,
        request: Request<wire::WithdrawRequest>,
    ) -> Result<Response<wire::WithdrawResponse>, Status> {
        let (metadata, _, r) = request.into_parts();
        let command =
            convert::funds(&r.tx_id, &r.account_id, r.amount.as_ref(), &r.reference, |t| Asked::Withdraw(Withdraw(t)));
        let (operation, balance_after) = self.funds("Withdraw", (&metadata, &r.tx_id), command).await?;
        Ok(funded(operation, |operation| wire::WithdrawResponse { operation: Some(operation), balance_after }))
    }

    async fn reserve(&self, request: Request<wire::ReserveRequest>) -> Result<Response<wire::ReserveResponse>, Status> {
        let (metadata, _, request) = request.into_parts();
        let answer = |reply: Reply| wire::ReserveResponse {
            operation: Some(operation(&reply.committed, reply.replayed)),
            reservation: convert::reservation(&reply.committed),
        };
        let command = convert::reserve(&request, self.engine.config());
        self.change("Reserve", (&metadata, &request.tx_id), command, answer).await
    }

    async fn get_reservation(
        &self,
        request: Request<wire::GetReservationRequest>,
    ) -> Result<Response<wire::GetReservationResponse>, Status> {
        let (metadata, _, request) = request.into_parts();
        rpc(&self.engine, &self.cells, "GetReservation", (&metadata, ""), async {
            let id = convert::get_reservation(&request).map_err(|refusal| status(&refusal))?;
            let committed = self.engine.reservation(TENANT, id).await.map_err(|refusal| status(&refusal))?;
            Ok(wire::GetReservationResponse { reservation: convert::reservation(&committed) })
        })
        .await
    }

    async fn list_reservations(
        &self,
        request: Request<wire::ListReservationsRequest>,
    ) -> Result<Response<wire::ListReservationsResponse>, Status> {
        let (metadata, _, request) = request.into_parts();
        rpc(&self.engine, &self.cells, "ListReservations", (&metadata, ""), async {
            let (id, wanted, ask) = convert::list_reservations(&request).map_err(|refusal| status(&refusal))?;
            let show = move |committed: &Committed| {
                let reservation = convert::reservation(committed);
                reservation.filter(|of| wanted == 0 || of.status == wanted).map(listed)
            };
            let page = self.engine.reservations(TENANT, &id, ask.window(), show).await;
            let page = page.map_err(|refusal| status(&refusal))?;
            let next_page_token = ask.token(page.next_below);
            Ok(wire::ListReservationsResponse { reservations: page.items, next_page_token })
        })
        .await
    }

    async fn capture(&self, request: Request<wire::CaptureRequest>) -> Result<Response<wire::CaptureResponse>, Status> {
        let (metadata, _, request) = request.into_parts();
        let answer = |reply: Reply| wire::CaptureResponse {
            operation: Some(operation(&reply.committed, reply.replayed)),
            reservation: convert::reservation(&reply.committed),
        };
        self.change("Capture", (&metadata, &request.tx_id), convert::capture(&request), answer).await
    }

    async fn release(&self, request: Request<wire::ReleaseRequest>) -> Result<Response<wire::ReleaseResponse>, Status> {
        let (metadata, _, request) = request.into_parts();
        let answer = |reply: Reply| wire::ReleaseResponse {
            operation: Some(operation(&reply.committed, reply.replayed)),
            reservation: convert::reservation(&reply.committed),
        };
        self.change("Release", (&metadata, &request.tx_id), convert::release(&request), answer).await
    }

    async fn create_transfer(
        &self,
        request: Request<wire::CreateTransferRequest>,
    ) -> Result<Response<wire::CreateTransferResponse>, Status> {
        let (metadata, _, request) = request.into_parts();
        let answer = |reply: Reply| wire::CreateTransferResponse {
            operation: Some(operation(&reply.committed, reply.replayed)),
            transfer: transfers::transfer(&reply.committed),
        };
        self.change(
            "CreateTransfer",
            (&metadata, &request.tx_id),
            transfers::create(&request, self.engine.config()),
            answer,
        )
        .await
    }

    async fn get_transfer(
        &self,
        request: Request<wire::GetTransferRequest>,
    ) -> Result<Response<wire::GetTransferResponse>, Status> {
        let (metadata, _, request) = request.into_parts();
        rpc(&self.engine, &self.cells, "GetTransfer", (&metadata, ""), async {
            let id = transfers::get(&request).map_err(|refusal| status(&refusal))?;
            let committed = self.engine.transfer(TENANT, id).await.map_err(|refusal| status(&refusal))?;
            Ok(wire::GetTransferResponse { transfer: transfers::transfer(&committed) })
        })
        .await
    }

    async fn post_transfer(
        &self,
        request: Request<wire::PostTransferRequest>,
    ) -> Result<Response<wire::PostTransferResponse>, Status> {
        let (metadata, _, request) = request.into_parts();
        let answer = |reply: Reply| wire::PostTransferResponse {
            operation: Some(operation(&reply.committed, reply.replayed)),
            transfer: transfers::transfer(&reply.committed),
        };
        self.change("PostTransfer", (&metadata, &request.tx_id), transfers::post(&request), answer).await
    }

    async fn void_transfer(
        &self,
        request: Request<wire::VoidTransferRequest>,
    ) -> Result<Response<wire::VoidTransferResponse>, Status> {
        let (metadata, _, request) = request.into_parts();
        let answer = |reply: Reply| wire::VoidTransferResponse {
            operation: Some(operation(&reply.committed, reply.replayed)),
            transfer: transfers::transfer(&reply.committed),
        };
        self.change("VoidTransfer", (&metadata, &request.tx_id), transfers::void(&request), answer).await
    }

    async fn reverse_operation(
        &self,
        request: Request<wire::ReverseOperationRequest>,
    ) -> Result<Response<wire::ReverseOperationResponse>, Status> {
        let (metadata, _, request) = request.into_parts();
        let answer = |reply: Reply| operations::reversed(&reply.committed, reply.replayed);
        self.change("ReverseOperation", (&metadata, &request.tx_id), operations::reverse(&request), answer).await
    }

    async fn get_operation(
        &self,
        request: Request<wire::GetOperationRequest>,
    ) -> Result<Response<wire::GetOperationResponse>, Status> {
        let (metadata, _, request) = request.into_parts();
        rpc(&self.engine, &self.cells, "GetOperation", (&metadata, ""), async {
            let id = operations::get(&request).map_err(|refusal| status(&refusal))?;
            let (now, made) = self.engine.operation(TENANT, id).await.map_err(|refusal| status(&refusal))?;
            Ok(operations::read(&now, &made))
        })
        .await
    }

    async fn update_account(
        &self,
        request: Request<wire::UpdateAccountRequest>,
    ) -> Result<Response<wire::UpdateAccountResponse>, Status> {
        let (metadata, _, request) = request.into_parts();
        let answer = |reply: Reply| wire::UpdateAccountResponse {
            operation: Some(operation(&reply.committed, reply.replayed)),
            account: convert::decided_account(&reply.committed),
        };
        self.change("UpdateAccount", (&metadata, &request.tx_id), convert::update(&request), answer).await
    }

    async fn get_statement(
        &self,
        request: Request<wire::GetStatementRequest>,
    ) -> Result<Response<wire::GetStatementResponse>, Status> {
        let (metadata, _, request) = request.into_parts();
        rpc(&self.engine, &self.cells, "GetStatement", (&metadata, ""), async {
            let now = self.engine.clock().latest();
            let (id, period, ask) = statements::get(&request, now).map_err(|refusal| status(&refusal))?;
            let view = self.engine.account(TENANT, &id).await.map_err(|refusal| status(&refusal))?;
            let (account, currency) = (id.clone(), view.account.currency);
            let show = move |row: &_, committed: &_| convert::line(row, committed, (&account, currency)).map(listed);
            let statement = self.engine.statement(TENANT, &id, period.clone(), ask.window(), show).await;
            Ok(statements::statement(&id, &period, statement.map_err(|refusal| status(&refusal))?, &ask))
        })
        .await
    }

    async fn list_entries(
        &self,
        request: Request<wire::ListEntriesRequest>,
    ) -> Result<Response<wire::ListEntriesResponse>, Status> {
        let (metadata, _, request) = request.into_parts();
        rpc(&self.engine, &self.cells, "ListEntries", (&metadata, ""), async {
            let (id, ask) = convert::list_entries(&request).map_err(|refusal| status(&refusal))?;
            let view = self.engine.account(TENANT, &id).await.map_err(|refusal| status(&refusal))?;
            let (account, currency) = (id.clone(), view.account.currency);
            let show = move |row: &_, committed: &_| convert::line(row, committed, (&account, currency)).map(listed);
            let page =
                self.engine.entries(TENANT, &id, ask.window(), show).await.map_err(|refusal| status(&refusal))?;
            Ok(wire::ListEntriesResponse { entries: page.items, next_page_token: ask.token(page.next_below) })
        })
        .await
    }
}
