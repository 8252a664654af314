"""What a customer on the phone is told about a disconnection, in Chinese and English.

Which sentence is said when stands in why.py.
"""

from collections.abc import Mapping

from gateway.disconnection.case import Cancel, State

STATES: Mapping[str, Mapping[State, str]] = {
    "zh": {
        State.WATCH: "账户 {account} 没有正在进行的欠费停电程序。",
        State.WARNED: "账户 {account} 余额偏低，已发出提醒；目前不会停电。",
        State.DUE: "账户 {account} 已达到停电条件，正在送达停电通知；送达后 {lead} 内不会停电。",
        State.NOTICE_SERVED: "停电通知已于 {notice} 送达，正在等待审批。",
        State.APPROVED: "停电通知已于 {notice} 送达，停电已获审批，停电前还会再通知一次。",
        State.SCHEDULED: "已发出最后一次通知，计划在 {trip} 停电，停电前还要逐项检查。",
        State.PREFLIGHT: "正在做停电前的最后检查。",
        State.SENT: "停电命令已发出，正在核实。",
        State.VERIFYING: "停电命令已被电能表接受，正在核实。",
        State.OPEN: "因欠费已于 {since} 停电。",
        State.FAILED: "停电未成功，电能表仍在供电，将派人到现场检查。",
        State.UNKNOWN: "停电命令的结果尚不清楚，将派人到现场检查。",
    },
    "en": {
        State.WATCH: "Account {account} is not being disconnected for what it owes.",
        State.WARNED: "The balance of account {account} is low and a reminder was sent; nothing is"
        " cut now.",
        State.DUE: "Account {account} has reached the point of disconnection; the notice is on its"
        " way, and until {lead} after its delivery nothing is cut.",
        State.NOTICE_SERVED: "The notice was delivered on {notice}; an approval is awaited.",
        State.APPROVED: "The notice was delivered on {notice} and the disconnection is approved;"
        " there will be one more call before it.",
        State.SCHEDULED: "The last call was made; the supply is to be cut on {trip}, after one more"
        " check of everything.",
        State.PREFLIGHT: "The last check before the disconnection is being made.",
        State.SENT: "The command to cut was sent; whether the supply is off is being verified.",
        State.VERIFYING: "The meter has accepted the command to cut; whether the supply is off is"
        " being verified.",
        State.OPEN: "The supply was cut on {since} because of the amount owed.",
        State.FAILED: "The disconnection failed, the meter still supplies; somebody will come and"
        " look.",
        State.UNKNOWN: "The command to cut was sent, and nobody knows yet what became of it;"
        " somebody will come and look.",
    },
}

SENTENCES: Mapping[str, Mapping[str, str]] = {
    "zh": {
        "balance": "当前余额 {balance} 元；余额降到 {limit} 元及以下才可能停电。",
        "balance_now": "当前余额 {balance} 元。",
        "watch": "余额降到 {alert} 元时会先发提醒。",
        "never": "该账户没有适用的停电规则，不会停电。",
        "never_class": "该账户属于受保护的类别（重要负荷、生命保障），不会停电。",
        "vetoed": "无论余额多少，目前都不会停电：{reasons}。",
        "calling": "正在进行停电前的最后一次通知，最早于 {trip} 停电；通知送达之前不会停电。",
        "statutory": "最早在欠费满 {days} 天（{overdue}）并完成催缴之后，才会发停电通知。",
        "contract": "余额降到 {limit} 元时，才会发停电通知。",
        "earliest": "最早可能停电的时间：{earliest}。",
        "protected_time": "近期都在保障时段之内，或日历不可用，目前不会停电。",
        "pay": "再充值 {amount} 元，停电程序即取消。",
        "pay_open": "再充值 {amount} 元，即恢复供电。",
        "pay_sent": "再充值 {amount} 元，停电即撤销；如已断开，即恢复供电。",
        "pay_enough": "余额已够，正在恢复供电。",
        "else": "对电费有异议，或家中有人依赖用电设备，请立即告知，停电程序会随之停止。",
        "held_back": "目前还不能停电：{reasons}。",
        "nothing_against": "目前没有原因阻止停电。",
        "allowed": "电能表已允许合闸：请按住表上按钮约 3 秒，即可恢复供电。",
        "held": "电能表被他人断开，可能有人在作业，需由运维人员到现场解除。",
        "ordered": "因调度或作业指令，计划在 {at} 或稍后停电，与欠费无关；停电前还要逐项检查。"
        "如家中有人依赖用电设备，请立即告知。",
        "by_order": "供电因调度或作业命令断开，与欠费无关；何时恢复请询问供电所。",
        "restoring": "正在恢复供电，会一直重试直到成功。",
        "stuck_open": "合闸命令未生效，已派人处理，同时继续重试。",
        "dry": "当前为演练，不会真正停电。",
    },
    "en": {
        "balance": "The balance is {balance} yuan; only at {limit} yuan or less may the supply be"
        " cut.",
        "balance_now": "The balance is {balance} yuan.",
        "watch": "When it falls to {alert} yuan, a reminder is sent first.",
        "never": "Nobody has said by which rules this account might be disconnected: it is not"
        " cut.",
        "never_class": "This account is of a protected class (critical, life support): it is not"
        " cut.",
        "vetoed": "Whatever the balance, nothing is cut now: {reasons}.",
        "calling": "The last call before the disconnection is being made.  The supply is to be cut"
        " on {trip} at the earliest, and not before the call was delivered.",
        "statutory": "A notice follows only when the amount is {days} days overdue ({overdue}) and"
        " was dunned.",
        "contract": "A notice follows only when the balance has fallen to {limit} yuan.",
        "earliest": "The earliest possible moment of the cut: {earliest}.",
        "protected_time": "The time ahead is protected, or there is no valid calendar: nothing is"
        " cut.",
        "pay": "A top-up of {amount} yuan ends this.",
        "pay_open": "A top-up of {amount} yuan restores the supply.",
        "pay_sent": "A top-up of {amount} yuan ends it; if the supply is off by then, it comes"
        " back.",
        "pay_enough": "The balance is sufficient; the supply is being restored.",
        "else": "If you dispute the amount, or somebody at home depends on electric equipment, say"
        " so now: that stops it, too.",
        "held_back": "At present it cannot happen: {reasons}.",
        "nothing_against": "Nothing stands in its way at present.",
        "allowed": "The meter allows the supply: hold its button for about 3 seconds.",
        "held": "Somebody else opened the meter and may be working there; a technician has to"
        " release it.",
        "ordered": "By an order, not for the amount owed, the supply is to be cut on {at} or a"
        " little later, after one more check of everything.  If somebody at home depends on"
        " electric equipment, say so now: that stops it.",
        "by_order": "The supply was cut by an order, not for the amount owed; the operator can say"
        " why and until when.",
        "restoring": "The supply is being restored; it is tried until it succeeds.",
        "stuck_open": "The meter was told to close and did not; somebody is sent, and it is tried"
        " again and again.",
        "dry": "This is a dry run: nothing is really cut.",
    },
}

ENDED: Mapping[Cancel, tuple[str, str]] = {
    Cancel.PAID: ("已缴费", "paid"),
    Cancel.PROTECTED: ("账户受保护", "the account is protected"),
    Cancel.DISPUTE: ("电费有异议", "a charge is disputed"),
    Cancel.MODE: ("用电方式或规则变更", "its mode or its rules were changed"),
    Cancel.SWAP: ("换表", "the meter was replaced"),
    Cancel.CORRECTION: ("电费或限额更正", "charges or limit were corrected"),
    Cancel.CLOSED: ("销户", "the account was closed"),
    Cancel.ORDERED: ("按命令撤销", "it was ordered"),
    Cancel.WRONG_CUT: ("停电有误", "the cut was wrong"),
}
"""Why a disconnection ended, in Chinese and English."""

CHECKS: Mapping[str, tuple[str, str]] = {
    "address": ("表地址无效", "the meter's address is not valid"),
    "meter_number": ("未能核对表号", "the meter's number is not confirmed"),
    "expired": ("没有有效的停电指令", "there is no order that is valid now"),
    "meter": ("没有这块表", "there is no such meter"),
    "account": ("没有有效账户", "there is no open account"),
    "regime": ("没有适用的停电规则", "no rules for a disconnection apply"),
    "mode": ("该类账户不自动停电", "such accounts are not cut automatically"),
    "protected": ("该账户受保护", "the account is protected"),
    "protected_supply": ("电能表处于保电状态", "the meter's supply is protected"),
    "unprotected_lately": ("保护刚刚解除", "its protection ended only lately"),
    "notice": ("停电通知未送达或时间未到", "no notice, or its time is not over"),
    "last_call": ("停电前最后一次通知未完成", "no last call, or its time is not over"),
    "approval": ("没有有效审批", "no valid approval"),
    "dispute": ("电费有争议", "a charge is disputed"),
    "calendar": ("现在或不久之后是保障时段", "a protected time, now or soon"),
    "provisional": ("电费含暂估部分", "part of the charges is provisional"),
    "data": ("抄表数据不完整或过期", "readings are missing, old or in doubt"),
    "tariff": ("没有有效电价", "no valid tariff"),
    "clock": ("网关时钟不可信", "the gateway's clock is not trusted"),
    "box": ("网关自检未通过", "the gateway does not trust itself"),
    "balance": ("余额高于停电限额", "the balance is above the limit"),
    "top_ups_waiting": ("有充值正在入账", "a top-up is being posted"),
    "fresh_notice": ("限额或电费有变，需重新通知", "limit or charges changed after the notice"),
    "unprotect": ("解除保电前需重新通知", "protection needs a fresh notice to end"),
    "mass_limit": ("停电户数已达上限", "enough others were cut already"),
    "latched": ("批量停电已闭锁", "all cuts are latched"),
    "quiet": ("网关启动或恢复通信不久", "the gateway started or reconnected only lately"),
    "drained": ("可能还有未收到的充值", "top-ups may still be on their way"),
    "stopped": ("停电总开关已关闭", "the stop switch is on"),
    "relay": ("继电器状态未确认或已断开", "the relay is not known to be closed"),
    "relay_fault": ("继电器有故障", "the relay has a fault"),
    "operations": ("继电器操作过于频繁", "the relay was operated lately"),
    "way_back": ("只能直接合闸，合同未约定", "it could only be closed unattended"),
}
"""What each check of the preflight means, in Chinese and English."""
